"""Derivatives of features through the minimum."""
