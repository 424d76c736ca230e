"""Clusters whose energy barriers or transition rates are designed."""
