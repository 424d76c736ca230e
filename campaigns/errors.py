"""The campaigns' named failures."""

from amorph.handover import AmorphError, FrameError, InputError, NotFiniteError

__all__ = [
    "CampaignFileError",
    "DesignError",
    "InterruptError",
    "JAXError",
    "NotAtRestError",
    "NotFiniteError",
    "PluginError",
    "RecordError",
    "RunningError",
    "StoppedError",
    "TrajectoryError",
    "WorkerError",
]


class CampaignFileError(InputError):
    """A TOML file cannot be used; every fault in it is named, with what would be right."""


class RecordError(AmorphError):
    """A run directory, or an unfinished analysis, is not what a run left there."""


class PluginError(InputError):
    """A plug-in cannot be read, or fails when it is run; the message names its line."""


class RunningError(RecordError):
    """Another process is writing to the run directory, or to the same analysis."""


class StoppedError(AmorphError):
    """A run was asked to stop before its end; what was finished is on disk."""


class InterruptError(StoppedError):
    """A run was interrupted (Ctrl-C) on any of its ranks; what was finished is on disk."""


class JAXError(AmorphError):
    """JAX cannot be loaded, or has nothing to compute on."""


class DesignError(AmorphError):
    """A design cannot go on from where it is."""


class TrajectoryError(FrameError):
    """A file is not of the format that its name says."""


class NotAtRestError(AmorphError):
    """A packing is not at rest where its file has it: what is measured would be another one."""


class WorkerError(AmorphError):
    """A worker process died, or failed in a way that has no name."""
