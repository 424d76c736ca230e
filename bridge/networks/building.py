"""Networks of springs: triangular lattices, Delaunay triangulations, contacts of packings, edges.

A network is (springs, packing), as every function of the bridge takes it: `amorph.bridge.Springs`
and a `Packing` of their nodes, at rest with no spring stretched.
Source of the three kinds: Zhu, Fang, Jin, Li, Shen and Xu, "A cyclical route linking fundamental
mechanism and AI algorithm" (Methods, "Construction of the amorphous networks").
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import Delaunay

from amorph.handover import InputError
from amorph.handover.arguments import (
    check_kind,
    count,
    not_negative,
    positive,
    real_numbers,
)
from amorph.handover.boxes import nearest_images, widths

from ..features.contact_numbers import contacts
from ..matter.packing import Packing
from ..matter.potentials import PairPotential
from ..matter.springs import Springs

__all__ = [
    "Network",
    "bond_units",
    "bond_vectors",
    "check_bonded",
    "check_network",
    "contact_network",
    "delaunay_network",
    "from_bonds",
    "opened",
    "triangular_network",
    "without_cut",
]

Network = tuple[Springs, Packing]
"""Springs, and the packing whose bonds they are."""


def bond_vectors(packing: Packing) -> NDArray[np.float64]:
    """From each bond's first node to its second, (n_bonds, d), over the box's nearest image."""
    assert packing.bonds is not None
    x, bonds = np.asarray(packing.positions), np.asarray(packing.bonds)
    apart = x[bonds[:, 1]] - x[bonds[:, 0]]
    return apart if packing.box is None else nearest_images(apart, np.asarray(packing.box))


def bond_units(packing: Packing) -> NDArray[np.float64]:
    """Unit vectors along bonds, from each first node to its second, (n_bonds, d)."""
    vector = bond_vectors(packing)
    unit: NDArray[np.float64] = vector / np.linalg.norm(vector, axis=1)[:, None]
    return unit


def from_bonds(
    positions: ArrayLike,
    bonds: ArrayLike,
    box: ArrayLike | None = None,
    *,
    stiffness: ArrayLike = 1.0,
) -> Network:
    """The network of springs between nodes, none of them stretched.

    Parameters
    ----------
    positions:
        Of the nodes, (N, d), length.
    bonds:
        Pairs of nodes, (n_bonds, 2).
    box:
        Box vectors as columns, (d, d); None for a network with open edges.
    stiffness:
        k > 0, one for all or (n_bonds,), energy / length².

    Raises
    ------
    InputError
        For bonds that are twice there, of no length, or as long as half of the box (then two
        nodes could be joined in more than one way), and as `Packing.of` does.

    Example
    -------
    >>> corners = [[0, 0], [1, 0], [0.5, 0.8]]
    >>> springs, packing = networks.from_bonds(corners, [[0, 1], [1, 2], [0, 2]])
    """
    points = real_numbers("positions", positions, "(N, d) numbers")
    if bonds is None:
        raise InputError("bonds are None: they must be integers (n_bonds, 2).")
    packing = Packing.of(points, np.zeros(len(points), dtype=np.int64), box, bonds=bonds)
    assert packing.bonds is not None
    if not len(packing.bonds):
        raise InputError("bonds: there are none, and so there is no network.")
    _check_bonds(packing)
    length = np.linalg.norm(bond_vectors(packing), axis=1)
    if packing.box is not None:
        most = 0.5 * float(np.min(widths(packing.box)))
        if not length.max() < most:
            i, j = packing.bonds[np.argmax(length)]
            raise InputError(
                f"bonds: nodes {i} and {j} are {length.max():.6g} apart, and half of the box is "
                f"{most:.6g}: a bond must be shorter, or it is not told from its images. Make the "
                "network larger."
            )
    k = real_numbers("stiffness", stiffness)
    if k.shape not in ((), length.shape):
        raise InputError(f"stiffness has shape {k.shape}: give one, or {len(length)}, one a bond.")
    return Springs(np.broadcast_to(k, length.shape), length), packing


def triangular_network(
    size: Sequence[int],
    *,
    distortion: float = 0.3,
    seed: int = 0,
    open_edges: bool = False,
    stiffness: float = 1.0,
) -> Network:
    """A distorted triangular lattice: each node moved by r in a direction at random.

    Parameters
    ----------
    size:
        Nodes in a row, and rows (an even number, unless the edges are open).
    distortion:
        r >= 0, in lattice constants; from 0.5 on, bonds may cross.
    seed:
        Of the directions.
    open_edges:
        Whether the network ends at its edges, whose nodes then are not moved; else it is periodic.
    stiffness:
        Of every spring, energy / length².

    Returns
    -------
    (springs, packing), in lattice constants, with z = 6 bonds a node where it is periodic.

    Raises `InputError` for sizes below 4 and what is no number.

    Example
    -------
    >>> springs, packing = networks.triangular_network((32, 32), distortion=0.3, seed=1)
    """
    if not isinstance(size, Sequence) or len(size) != 2:
        raise InputError(f"size is {size!r}: it must be two whole numbers, as (32, 32).")
    across, rows = (count("size", n, least=4) for n in size)
    if rows % 2 and not open_edges:
        raise InputError(f"size: {rows} rows: a periodic triangular lattice has an even number.")
    r = not_negative("distortion", distortion)
    j, i = np.divmod(np.arange(across * rows), across)
    number = j * across + i
    x = np.stack([i + 0.5 * (j % 2), j * np.sqrt(0.75)], axis=1).astype(np.float64)
    # Each node's neighbours to the right, and up: to the right and to the left.
    ends = []
    for right, up in ((i + 1, j), (i + j % 2, j + 1), (i + j % 2 - 1, j + 1)):
        inside = (right >= 0) & (right < across) & (up < rows)
        kept = inside if open_edges else np.ones_like(inside)
        ends.append(np.stack([number, (up % rows) * across + right % across], axis=1)[kept])
    bonds = np.concatenate(ends)
    turn = np.random.default_rng(seeds("seed", seed)).uniform(0.0, 2.0 * np.pi, len(x))
    moved = r * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    if open_edges:
        moved[(i == 0) | (i == across - 1) | (j == 0) | (j == rows - 1)] = 0.0
    box = None if open_edges else np.diag([float(across), rows * np.sqrt(0.75)])
    return from_bonds(x + moved, bonds, box, stiffness=stiffness)


def delaunay_network(
    n_nodes: int,
    *,
    least_distance: float = 0.5,
    seed: int = 0,
    open_edges: bool = False,
    stiffness: float = 1.0,
) -> Network:
    """The Delaunay triangulation of points at random in a square, of mean distance about 1.

    Parameters
    ----------
    n_nodes:
        N, at least 16.
    least_distance:
        Points nearer than this to one before are drawn anew, 0 to 0.7; in units of N^(-1/2) of
        the square's side. 0 gives points that know nothing of each other, with many slivers.
    seed:
        Of the points.
    open_edges:
        Whether the network ends at its edges; else it is periodic, with z = 6 but for a pair of
        nodes that a small box would have joined twice. Of an open one, no bond is kept that its
        edge's slivers would make longer than 3.
    stiffness:
        Of every spring, energy / length².

    Returns (springs, packing) of density 1.

    Raises `InputError` for numbers outside of their ranges, and a network too small for its
    longest bond.

    Example
    -------
    >>> springs, packing = networks.delaunay_network(1024, seed=1)
    """
    n = count("n_nodes", n_nodes, least=16)
    apart = not_negative("least_distance", least_distance)
    if apart > 0.7:
        raise InputError(f"least_distance is {apart}: it must lie between 0 and 0.7.")
    side = np.sqrt(n)
    x = _points(n, side, apart, np.random.default_rng(seeds("seed", seed)), periodic=not open_edges)
    if open_edges:
        pairs = _edges(Delaunay(x).simplices)
        short = np.linalg.norm(x[pairs[:, 1]] - x[pairs[:, 0]], axis=1) < 3.0
        return from_bonds(x, pairs[short], stiffness=stiffness)
    shifts = np.array([(a, b) for a in (0, 1, -1) for b in (0, 1, -1)])
    tiled = (x[None] + side * shifts[:, None]).reshape(-1, 2)
    pairs = _edges(Delaunay(tiled).simplices)
    own = pairs[(pairs < n).any(axis=1)] % n
    bonds = np.unique(np.sort(own, axis=1), axis=0)
    return from_bonds(x, bonds, side * np.eye(2), stiffness=stiffness)


def _points(
    n: int, side: float, apart: float, rng: np.random.Generator, *, periodic: bool
) -> NDArray[np.float64]:
    """Points (n, 2) at random, one after another, none nearer than `apart` to those before."""
    out = np.empty((n, 2))
    for k in range(n):
        while True:
            out[k] = rng.uniform(0.0, side, 2)
            away = out[:k] - out[k]
            if periodic:
                away -= side * np.rint(away / side)
            if not k or np.min(np.einsum("ij,ij->i", away, away)) >= apart**2:
                break
    return out


def _edges(triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """The edges (M, 2) of triangles (T, 3), each once."""
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return np.unique(np.sort(sides, axis=1), axis=0)


def contact_network(theta: PairPotential, packing: Packing, *, stiffness: float = 1.0) -> Network:
    """The network of a packing's contacts: springs of one stiffness, at rest where particles are.

    Contacts are those of `amorph.bridge.contacts`; particles that nothing holds are left out.

    Raises `InputError` where there are no contacts, else as `amorph.bridge.contacts` does.
    """
    positive("stiffness", stiffness)
    found = contacts(theta, packing)
    if not len(found.pairs):
        raise InputError("the packing has no contacts: there is no network of them.")
    held = np.flatnonzero(~found.rattlers)
    bonds = np.searchsorted(held, found.pairs)
    return from_bonds(np.asarray(packing.positions)[held], bonds, packing.box, stiffness=stiffness)


def opened(springs: Springs, packing: Packing) -> Network:
    """The same network with open edges: bonds across the box's faces are cut, ends taken off.

    Nodes that then have fewer than d bonds hold nothing and are taken out, again and again.

    Raises `InputError` for what is no network in a box, and where nothing is left.
    """
    check_network(springs, packing)
    if packing.box is None:
        raise InputError("the network has open edges already.")
    inside = packing.wrapped()
    x, bonds = np.asarray(inside.positions), np.asarray(packing.bonds)
    apart = x[bonds[:, 1]] - x[bonds[:, 0]]
    values = springs.arrays()
    kept = (values["stiffness"] > 0) & (np.abs(apart - bond_vectors(packing)).max(axis=1) < 1e-9)
    while True:
        number = np.bincount(bonds[kept].ravel(), minlength=len(x))
        loose = (number > 0) & (number < packing.dimension)
        if not loose.any():
            break
        kept &= ~loose[bonds].any(axis=1)
    held = np.flatnonzero(number)
    if not len(held):
        raise InputError("nothing is left of the network without the bonds across its box.")
    ends = np.searchsorted(held, bonds[kept])
    return from_bonds(x[held], ends, stiffness=values["stiffness"][kept])


def without_cut(springs: Springs, packing: Packing) -> Network:
    """The same network with no bond of stiffness 0 left in it, as files and pictures want it.

    Raises `InputError` for what is no network.
    """
    check_network(springs, packing)
    assert packing.bonds is not None
    values = springs.arrays()
    kept = values["stiffness"] > 0
    new = Packing.of(
        packing.positions, packing.typeid, packing.box, bonds=np.asarray(packing.bonds)[kept]
    )
    return Springs(values["stiffness"][kept], values["length"][kept]), new


def seeds(name: str, given: "int | Sequence[int]") -> list[int]:
    """Whole numbers of at least 0 of which random numbers are made; raises `InputError`."""
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    return [count(name, one, least=0) for one in several]


def check_bonded(packing: Any) -> None:
    """Raise `InputError` for anything but a packing with bonds."""
    check_kind("packing", packing, Packing, "a Packing")
    if packing.bonds is None or not len(packing.bonds):
        raise InputError("the packing has no bonds, and so is no network.")


def check_network(springs: Any, packing: Any) -> None:
    """Raise `InputError` for anything but springs and the packing that has as many bonds."""
    check_kind("springs", springs, Springs, "bridge.Springs")
    check_kind("packing", packing, Packing, "a Packing")
    n = 0 if packing.bonds is None else len(packing.bonds)
    if n != springs.n_bonds:
        raise InputError(f"the packing has {n} bonds, and there are {springs.n_bonds} springs.")
    if packing.fixed is not None and np.any(packing.fixed):
        raise InputError(
            f"{int(np.sum(packing.fixed))} nodes are fixed, which responses of networks do not "
            "know: leave it out (dataclasses.replace(packing, fixed=None))."
        )
    _check_bonds(packing)


def _check_bonds(packing: Packing) -> None:
    """Raise `InputError` for bonds that are twice there, or have no length."""
    bonds = np.sort(np.asarray(packing.bonds), axis=1)
    key = bonds[:, 0].astype(np.int64) * packing.n_particles + bonds[:, 1]
    _, first, counts = np.unique(key, return_index=True, return_counts=True)
    if (counts > 1).any():
        i, j = bonds[first[np.argmax(counts > 1)]]
        raise InputError(f"bonds: nodes {i} and {j} are joined twice: give each bond once.")
    length = np.linalg.norm(bond_vectors(packing), axis=1)
    if not length.all():
        i, j = np.asarray(packing.bonds)[np.argmin(length)]
        raise InputError(f"bonds: nodes {i} and {j} are joined but lie at one place.")
