"""What both files of tests need."""

import importlib.util

import pytest


@pytest.fixture(scope="session")
def component() -> None:
    """Skips where hoomd.amorph is not installed."""
    if importlib.util.find_spec("hoomd") is None:
        pytest.skip("HOOMD-blue is not installed")
    if importlib.util.find_spec("hoomd.amorph") is None:
        pytest.skip("hoomd.amorph is not installed: see docs/hoomd.md")
