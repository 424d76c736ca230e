"""The campaigns' named failures."""

from amorph.handover import AmorphError, InputError

__all__ = ["CampaignFileError", "DesignError", "RecordError", "RunningError"]


class CampaignFileError(InputError):
    """A TOML file cannot be used; every fault in it is named, with what would be right."""


class RecordError(AmorphError):
    """A run directory is not what a run left there."""


class RunningError(RecordError):
    """Another process is writing to the run directory."""


class DesignError(AmorphError):
    """A design cannot go on from where it is."""
