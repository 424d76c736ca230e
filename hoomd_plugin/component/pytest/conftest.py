"""On several MPI ranks each of them runs every test, in a world of its own.

Tests of several ranks start these themselves, and are left out there.
"""

import os

import hoomd
import pytest


@pytest.fixture(scope="session")
def own_world():
    """The communicator of this rank alone; None if it is alone already."""
    if not hoomd.version.mpi_enabled or hoomd.communicator.Communicator().num_ranks == 1:
        return None
    return hoomd.communicator.Communicator(ranks_per_partition=1)


@pytest.fixture(autouse=True)
def _in_its_own_world(own_world, monkeypatch):
    if own_world is not None:
        # What devices and snapshots take if nothing is said.
        monkeypatch.setattr(hoomd.communicator, "Communicator", lambda: own_world)


@pytest.fixture
def one_process(own_world):
    """Leaves out a test that starts MPI ranks."""
    if own_world is not None:
        pytest.skip("it starts MPI ranks itself: run pytest without mpiexec for it")


@pytest.fixture
def environment():
    """The environment of a process that shall not take part in this one's MPI job."""
    names = ("PMI", "MPI", "OMPI", "PRTE", "HYDRA")
    return {name: value for name, value in os.environ.items() if not name.startswith(names)}
