"""Rasters in and out: the only home of rasterio.

``scene`` opens what goes in and reads windows of it, ``mapfile`` writes what comes out and reads it
back, ``aligning`` brings other rasters and vectors on to a scene's grid.
"""
