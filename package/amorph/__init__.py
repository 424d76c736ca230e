"""Amorph: disordered solids, prepared, measured, differentiated and designed.

`amorph.ensemble` prepares packings, `amorph.bridge` measures and differentiates them,
`amorph.campaigns` is the command line and its campaigns, and `amorph.handover` has the files and
errors that they share.
"""

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    # Looked up where it is asked for: it takes longer than all else here.
    if name == "__version__":
        from importlib.metadata import version

        return version("amorph")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
