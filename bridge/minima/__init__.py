"""Minima of the energy: found, proven, followed, and their linear response."""
