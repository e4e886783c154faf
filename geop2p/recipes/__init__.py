"""Recipes of training that ship, each a file that states every value."""
