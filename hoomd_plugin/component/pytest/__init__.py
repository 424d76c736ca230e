"""Tests of hoomd.amorph, for ``pytest --pyargs hoomd.amorph``."""
