"""Rank and size that mpiexec or srun gave this process, from its environment.

Nothing is loaded here: it is asked before anything else is.
"""

import os
import signal

__all__ = ["hold_interrupts", "launched_number", "launched_size", "release_interrupts"]


def _told(*keys: str, otherwise: int) -> int:
    return next((int(os.environ[k]) for k in keys if os.environ.get(k, "").isdigit()), otherwise)


def launched_size() -> int:
    """The number of ranks started; 1 for a process on its own."""
    return _told(
        "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "PMIX_SIZE", "SLURM_STEP_NUM_TASKS", otherwise=1
    )


def launched_number() -> int:
    """The rank of this process; 0 for a process on its own."""
    return _told("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID", otherwise=0)


def hold_interrupts() -> None:
    """Let Ctrl-C wait, on a rank of several, until the ranks know of each other.

    A rank that ended before would leave the others waiting for it for ever.
    """
    if launched_size() > 1:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def release_interrupts() -> None:
    """Let Ctrl-C come, one that waits first."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
