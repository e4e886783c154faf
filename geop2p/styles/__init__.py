"""Palettes and styles that ship."""
