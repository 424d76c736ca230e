"""Saddles around the minima of packings, their energy barriers, and designs that raise them."""
