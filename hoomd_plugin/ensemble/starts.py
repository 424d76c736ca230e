"""Where preparations start: positions, types and boxes, random, on lattices or from files."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import (
    Frame,
    GSDReader,
    InputError,
    Purpose,
    RandomKey,
    check_box_matrix,
    random_key,
    read_gsd,
    type_names,
    uniforms,
)
from amorph.handover.arguments import (
    check_choice,
    count,
    described,
    not_negative,
    positive,
    real_numbers,
)
from amorph.handover.showing import box_shown, shown

from . import _engine
from .bonds import Bonds
from .engine import Parameters, Tables, boxes_for, no_pairs, tables

__all__ = [
    "LATTICES",
    "Start",
    "lattice",
    "make_start",
    "random_positions",
    "read_start",
    "typeids",
]

Order = Literal["in_order", "random"]


@dataclass(frozen=True)
class Start:
    """Replicas to begin with.

    Attributes
    ----------
    positions:
        (R, N, d).
    typeid:
        (N,), or (R, N).
    boxes:
        (1 or R, d, d), columns the box vectors; None for open boundaries.
    parameters:
        The potential of each replica where the start has them (from a file), else none.
    bonds:
        The springs of each replica where the start has them (from a file), else none.
    """

    positions: NDArray[np.float64]
    typeid: NDArray[np.int32]
    boxes: NDArray[np.float64] | None
    parameters: tuple["FrameParameters", ...] = ()
    bonds: tuple[Bonds, ...] = ()

    def __repr__(self) -> str:
        r, n, d = self.positions.shape
        boxes = self.boxes
        return shown(
            f"Start: {r} replicas of {n} particles in {d} dimensions",
            [
                ("box", box_shown(None if boxes is None else boxes[0]) + _others(boxes)),
                ("types", str(len(np.unique(self.typeid)))),
                ("potential", self.parameters[0].potential if self.parameters else ""),
                ("bonds", f"{len(np.asarray(self.bonds[0].pairs))}" if self.bonds else ""),
            ],
        )

    def __len__(self) -> int:
        """The number of replicas."""
        return len(self.positions)

    def __getitem__(self, part: slice) -> "Start":
        """Some of the replicas."""
        boxes = self.boxes
        return Start(
            self.positions[part],
            self.typeid if self.typeid.ndim == 1 else self.typeid[part],
            boxes if boxes is None or len(boxes) == 1 else boxes[part],
            self.parameters[part],
            self.bonds[part],
        )

    @property
    def box(self) -> NDArray[np.float64] | None:
        """The boxes as `prepare` takes them: one for all, or one for each, or None."""
        return self.boxes[0] if self.boxes is not None and len(self.boxes) == 1 else self.boxes


def _others(boxes: NDArray[np.float64] | None) -> str:
    return "" if boxes is None or len(boxes) == 1 else ", and others"


@dataclass(frozen=True)
class FrameParameters:
    """A potential as a GSD frame has it: its name, and arrays by name."""

    potential: str
    values: dict[str, NDArray[np.float64]]

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The parameters by name."""
        return self.values


@dataclass(frozen=True)
class Lattice:
    """A lattice's rectangular cell: its sides and sites, for nearest neighbours 1 apart."""

    sides: tuple[float, ...]
    sites: tuple[tuple[float, ...], ...]  # as fractions of the sides


LATTICES = {
    "square": Lattice((1.0, 1.0), ((0.0, 0.0),)),
    "triangular": Lattice((1.0, math.sqrt(3.0)), ((0.0, 0.0), (0.5, 0.5))),
    "honeycomb": Lattice(
        (math.sqrt(3.0), 3.0), ((0.0, 0.0), (0.5, 1 / 6), (0.5, 0.5), (0.0, 2 / 3))
    ),
    "fcc": Lattice(
        (math.sqrt(2.0),) * 3,
        ((0.0, 0.0, 0.0), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5)),
    ),
}
"""The lattices there are, by name."""


def typeids(
    n_particles: int,
    n_types: int,
    composition: Sequence[float] | None = None,
    *,
    order: Order = "in_order",
    replicas: int = 1,
    seed: int = 0,
    first_replica: int = 0,
    stream: int = 0,
) -> NDArray[np.int32]:
    """Types of the particles.

    Parameters
    ----------
    n_particles, n_types:
        How many there are.
    composition:
        The share of each type: parts that sum to 1 ([0.25, 0.75]), or a proportion in whole numbers
        ([1, 3]); by default all equal.
    order:
        ``in_order``: first all of type 0, then of type 1, ..., in every replica; ``random``: each
        replica's particles shuffled by a permutation that follows from (seed, replica number,
        stream).
    replicas, seed, first_replica, stream:
        As in `random_positions`; used by ``random`` alone.

    Returns
    -------
    typeid:
        (N,), or (R, N) where they are shuffled.

    Raises
    ------
    InputError
        If the composition is neither, or does not divide the particles into whole numbers.
    """
    n_particles = count("n_particles", n_particles)
    n_types = count("n_types", n_types)
    right = f"{n_types} shares, one for each type"
    shares = np.ones(n_types)
    if composition is not None:
        shares = real_numbers("composition", composition, right)
    if shares.shape != (n_types,) or not np.isfinite(shares).all() or (shares < 0).any():
        raise InputError(
            f"composition = {composition!r}: it must give {n_types} shares, none below 0, "
            "one for each type."
        )
    if shares.sum() <= 0:
        raise InputError(f"composition = {composition!r}: the shares must not all be 0.")
    if abs(shares.sum() - 1) > 1e-9 and (shares != np.rint(shares)).any():
        raise InputError(
            f"composition = {composition!r}: the shares sum to {shares.sum():g}. Give parts that "
            "sum to 1, or a proportion in whole numbers: [0.25, 0.75] or [1, 3]."
        )
    exact = n_particles * shares / shares.sum()
    numbers = np.rint(exact).astype(np.int64)
    if np.abs(exact - numbers).max() > 1e-6 or numbers.sum() != n_particles:
        raise InputError(
            f"composition {shares.tolist()} does not divide {n_particles} particles into whole "
            f"numbers ({', '.join(f'{x:g}' for x in exact)}): change n_particles or composition."
        )
    in_order = np.repeat(np.arange(n_types, dtype=np.int32), numbers)
    check_choice("order", order, ("in_order", "random"))
    if order == "in_order":
        return in_order
    key = random_key(seed, first_replica, stream, replicas=replicas)
    which = np.arange(key.replica, key.replica + replicas)[:, None]
    particles = np.arange(n_particles)[None]
    ranks = uniforms(key.seed, Purpose.TYPE_ORDER, particles, which, key.stream)[..., 0]
    out = np.empty((replicas, n_particles), dtype=np.int32)
    np.put_along_axis(out, np.argsort(ranks, axis=1, kind="stable"), in_order[None], axis=1)
    return out


def random_positions(
    n_particles: int,
    box: ArrayLike,
    replicas: int,
    seed: int,
    *,
    first_replica: int = 0,
    stream: int = 0,
) -> NDArray[np.float64]:
    """Uniform random positions (R, N, d) in a box.

    A replica's positions depend on (seed, replica number, stream) alone: see
    `amorph.handover.random_keys`.

    Parameters
    ----------
    n_particles, replicas:
        N and R.
    box:
        (d, d), columns the box vectors.
    seed:
        0 to 2^64 - 1.
    first_replica:
        The number of the first replica; the others follow.
    stream:
        A further number that they follow from, 0 to 2^32 - 1: other starts of the same replicas.

    Raises
    ------
    InputError
        For numbers out of bounds.
    """
    matrix = check_box_matrix(box)
    n = count("n_particles", n_particles, below=2**24)
    r = count("replicas", replicas)
    return _random_positions(n, matrix, r, random_key(seed, first_replica, stream, replicas=r))


def _random_positions(
    n: int, box: NDArray[np.float64], replicas: int, key: RandomKey
) -> NDArray[np.float64]:
    positions = np.empty((replicas, n, len(box)))
    purposes = [Purpose.START_POSITION, Purpose.START_POSITION_Z]
    _engine.random_positions(key, purposes, np.ascontiguousarray(box[None]), positions)
    return positions


def lattice(
    name: str, n_particles: int, density: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A piece of a lattice that fills its box, as near to a cube (square) as N allows.

    Parameters
    ----------
    name:
        ``square``, ``triangular`` or ``honeycomb`` in two dimensions, ``fcc`` in three.
    n_particles, density:
        N, and N/V.

    Returns
    -------
    positions, box:
        (N, d) and (d, d).

    Raises
    ------
    InputError
        For an unknown lattice, or an N that does not fill whole cells in a box whose sides are
        within a factor of 1.5 of each other.
    """
    if not isinstance(name, str) or name not in LATTICES:
        raise InputError(f"there is no lattice {described(name)}: there are {', '.join(LATTICES)}.")
    cell = LATTICES[name]
    n = count("n_particles", n_particles, below=2**24)
    sites = np.array(cell.sites)
    sides = np.array(cell.sides)
    whole = n // len(sites)
    if n % len(sites):
        near = [m * len(sites) for m in _compact(whole + 0.5, sides)]
        raise InputError(
            f"n_particles = {n}: a {name} lattice has {len(sites)} particles a cell. Near numbers "
            f"that fill compact boxes: {', '.join(map(str, near))}."
        )
    repeats = _cells(whole, sides)
    lengths = repeats * sides
    if lengths.max() > 1.5 * lengths.min():
        good = [m * len(sites) for m in _compact(whole, sides)]
        raise InputError(
            f"n_particles = {n}: on a {name} lattice the box would be "
            f"{' x '.join(f'{x:.3g}' for x in lengths / lengths.min())}. Near numbers that give "
            f"compact boxes: {', '.join(map(str, good))}."
        )
    grid = np.stack(np.meshgrid(*[np.arange(k) for k in repeats], indexing="ij"), axis=-1)
    fractions = (grid.reshape(-1, 1, len(sides)) + sites).reshape(-1, len(sides)) / repeats
    scale = (n / positive("density", density) / np.prod(lengths)) ** (1 / len(sides))
    box = np.diag(lengths * scale)
    # A quarter of a cell off the faces, where round-off would decide on the side.
    shifted = fractions + 0.25 / repeats
    return (shifted - np.floor(shifted) - 0.5) * np.diag(box), box


def _cells(total: int, sides: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many cells along each side, their product `total`, for the most compact box."""
    best: tuple[float, tuple[int, ...]] | None = None

    def visit(chosen: tuple[int, ...], left: int) -> None:
        nonlocal best
        if len(chosen) == len(sides) - 1:
            lengths = np.array([*chosen, left]) * sides
            ratio = float(lengths.max() / lengths.min())
            if best is None or ratio < best[0]:
                best = (ratio, (*chosen, left))
            return
        for k in range(1, left + 1):
            if left % k == 0:
                visit((*chosen, k), left // k)

    visit((), total)
    assert best is not None
    return np.array(best[1])


def _compact(total: float, sides: NDArray[np.float64]) -> list[int]:
    """The nearest totals on either side that give compact boxes."""
    found = []
    for step in (-1, 1):
        k = math.ceil(total) - 1 if step < 0 else math.floor(total) + 1
        while 0 < k < 4 * total + 100:
            lengths = _cells(k, sides) * sides
            if lengths.max() <= 1.5 * lengths.min():
                found.append(k)
                break
            k += step
    return found


def make_start(
    theta: Parameters | Tables | None,
    n_particles: int,
    density: float | None,
    dimension: int,
    replicas: int,
    seed: int,
    *,
    start: str = "random",
    noise: float = 0.0,
    composition: Sequence[float] | None = None,
    order: Order = "in_order",
    first_replica: int = 0,
    stream: int = 0,
) -> Start:
    """Replicas in a cubic (square) box or in open space at random, or on a lattice.

    Parameters
    ----------
    theta, n_particles, density, dimension, replicas, seed, first_replica:
        As in `amorph.ensemble.quench`; theta None for particles that meet through bonds alone, of
        as many types as the composition has, or one. Without a density (None) there is no box: the
        particles begin at random in a cube (square) of (largest diameter)^d for each.
    start:
        ``random``: uniform, independent positions; or a lattice's name: see `lattice`.
    noise:
        Standard deviation of the normal displacement of each particle from its lattice site, a
        component, in units of length.
    composition, order:
        See `typeids`.
    stream:
        As in `random_positions`.

    Raises
    ------
    InputError
        For what does not fit together.
    BoxTooSmallError
        For a box narrower than twice the cutoff.
    """
    if theta is None:
        shares = () if composition is None else real_numbers("composition", composition)
        theta = no_pairs(max(1, np.size(shares)), 1.0)
    table = theta if isinstance(theta, Tables) else tables(theta)
    unit = float(table.sigma.max()) ** -dimension if dimension in (2, 3) else 1.0
    box = start_box(start, n_particles, unit if density is None else density, dimension)
    if density is None and start != "random":
        raise InputError(f"start = {start!r}: a lattice needs a density, which clusters have not.")
    n = count("n_particles", n_particles, below=2**24)
    r = count("replicas", replicas)
    key = random_key(seed, first_replica, stream, replicas=r)
    not_negative("noise", noise)
    types = typeids(
        n,
        table.n_types,
        composition,
        order=order,
        replicas=r,
        seed=key.seed,
        first_replica=key.replica,
        stream=key.stream,
    )
    if start == "random":
        if noise:
            raise InputError(f"noise = {noise!r}: random starts have no lattice sites to leave.")
        if density is not None:
            boxes_for(box, table, 1, dimension)
        positions = _random_positions(n, box, r, key)
        return Start(positions, types, None if density is None else box[None])
    assert density is not None
    sites, box = _lattice_of(start, n, density, dimension)
    positions = np.repeat(sites[None], r, axis=0)
    if noise:
        positions += noise * _normals(key, r, n, dimension)
    return Start(positions, types, box[None])


def start_box(start: str, n_particles: int, density: float, dimension: int) -> NDArray[np.float64]:
    """The box (d, d) that `make_start` would make; raises as it does."""
    if not isinstance(dimension, (int, np.integer)) or dimension not in (2, 3):
        raise InputError(f"dimension = {dimension!r}: it must be 2 or 3.")
    n = count("n_particles", n_particles, below=2**24)
    if start != "random":
        return _lattice_of(start, n, density, dimension)[1]
    return np.eye(dimension) * (n / positive("density", density)) ** (1.0 / dimension)


def _lattice_of(
    name: str, n: int, density: float, dimension: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if isinstance(name, str) and name in LATTICES and len(LATTICES[name].sides) != dimension:
        raise InputError(
            f"a {name} lattice has {len(LATTICES[name].sides)} dimensions, not {dimension}."
        )
    return lattice(name, n, density)


def _normals(key: RandomKey, replicas: int, n: int, dimension: int) -> NDArray[np.float64]:
    """Normal numbers (R, N, d) by the method of Box and Muller."""
    out = np.empty((replicas, n, 2 * (dimension - 1)))
    for half, purpose in enumerate((Purpose.START_NOISE, Purpose.START_NOISE_Z)[: dimension - 1]):
        which = np.arange(key.replica, key.replica + replicas)[:, None]
        u = uniforms(key.seed, purpose, np.arange(n)[None], which, key.stream)
        radius = np.sqrt(-2.0 * np.log1p(-u[..., 0]))
        out[..., 2 * half] = radius * np.cos(2 * np.pi * u[..., 1])
        out[..., 2 * half + 1] = radius * np.sin(2 * np.pi * u[..., 1])
    return out[..., :dimension]


def read_start(
    path: str | PathLike[str],
    frames: slice | None = None,
    *,
    stiffness: ArrayLike | None = None,
    length: ArrayLike | None = None,
) -> Start:
    """The packings of a GSD file as replicas to begin with, one a frame.

    Parameters
    ----------
    path:
        A GSD file, of Amorph or of HOOMD-blue.
    frames:
        Which frames, counted as in a list; by default all.
    stiffness, length:
        Of the springs that the frames' bonds are, as in `Bonds`; by default those that were
        written with them.

    Warns of what the first frame holds that replicas do not: charges, constraints, masses other
    than 1, ..., and of types called A, B, ... in another order.

    Raises
    ------
    FrameError
        For a file or frame that cannot be read (see `amorph.handover.read_gsd`).
    InputError
        If the frames differ in number of particles or dimension, if some have a box or bonds and
        others none, or if bonds have no stiffness.
    """
    chosen = list(read_gsd(path, frames, need_potential=False))
    shape = chosen[0].positions.shape
    for frame in chosen:
        if frame.positions.shape != shape:
            raise InputError(
                f"{path}: frame {frame.index} has {frame.positions.shape[0]} particles in "
                f"{frame.positions.shape[1]} dimensions, frame {chosen[0].index} {shape[0]} in "
                f"{shape[1]}: prepare them apart."
            )
        for name in ("box", "bonds"):
            if (getattr(frame, name) is None) != (getattr(chosen[0], name) is None):
                raise InputError(
                    f"{path}: one of the frames {chosen[0].index} and {frame.index} has "
                    f"{'a box' if name == 'box' else 'bonds'}, the other none: prepare them apart."
                )
    _warn_of(path, chosen[0])
    known = all(frame.potential is not None for frame in chosen)
    typeid = np.stack([frame.typeid for frame in chosen])
    return Start(
        np.stack([frame.positions for frame in chosen]),
        typeid[0] if (typeid == typeid[0]).all() else typeid,
        None if chosen[0].box is None else np.stack([f.box for f in chosen if f.box is not None]),
        tuple(FrameParameters(str(f.potential), dict(f.parameters)) for f in chosen)
        if known
        else (),
        tuple(_frame_bonds(path, frame, stiffness, length) for frame in chosen)
        if chosen[0].bonds is not None
        else (),
    )


def _warn_of(path: str | PathLike[str], frame: Frame) -> None:
    """Tell what a frame to begin with holds that the replicas do not."""
    with GSDReader(path, need_potential=False) as file:
        unused = file.unused(frame.index)
    if unused:
        warnings.warn(
            f"{frame.where}: not taken over, and without part in what is prepared: "
            f"{'; '.join(unused)}.",
            stacklevel=3,
        )
    ours = type_names(len(frame.types))
    if set(frame.types) <= set(type_names(26)) and frame.types != ours:
        warnings.warn(
            f"{frame.where}: its types {', '.join(frame.types)} are taken in this order, and are "
            f"called {', '.join(ours)} in what is prepared.",
            stacklevel=3,
        )


def _frame_bonds(
    path: str | PathLike[str], frame: Frame, stiffness: ArrayLike | None, length: ArrayLike | None
) -> Bonds:
    assert frame.bonds is not None
    stiff = frame.log.get("springs/stiffness") if stiffness is None else stiffness
    if stiff is None:
        raise InputError(
            f"{path}: frame {frame.index} has bonds, but not how stiff they are: give a stiffness."
        )
    long = frame.log.get("springs/length") if length is None else length
    return Bonds(frame.bonds, stiff, long)
