"""Vectors in and out: the home of shapely and pyogrio.

What is drawn on a scene comes in by `geop2p.vector.drawing`; the outlines of a map's classes go out
by `geop2p.vector.coverage`, `geop2p.vector.joining` and `geop2p.vector.layer`.
"""
