"""The workflows: translate scenes, train generators, prepare pairs. The home of Dask."""
