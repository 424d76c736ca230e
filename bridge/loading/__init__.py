"""Deformation of the box: stress against strain."""
