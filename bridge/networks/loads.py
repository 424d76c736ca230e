"""How a network is loaded: which nodes are held, what strains it, what is read off it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_kind, positive, whole_numbers
from amorph.handover.boxes import nearest_images

from ..errors import FeatureError
from ..matter.packing import Packing
from ..matter.strains import strain_basis
from .building import bond_units, bond_vectors, check_bonded

__all__ = ["Load", "between_plates", "edge_nodes", "pair_extensions", "periodic_load"]


@dataclass(frozen=True, eq=False)
class Load:
    """A way to load a network: strains, and what is read off its answer, both linear.

    Attributes
    ----------
    held:
        (N, d) bool: which displacements no force changes.
    strained:
        (n_bonds, n_strains): each bond's extension at unit strain where free nodes stay, length.
    functionals:
        (n_functionals, N, d): what is read off displacements.
    functionals_strained:
        (n_functionals, n_strains): its part that the strain itself makes.
    carried:
        (n_strains, N, d): where the strain itself takes the nodes.
    volume:
        That C is an energy of, length^d.
    """

    held: NDArray[np.bool_]
    strained: NDArray[np.float64]
    functionals: NDArray[np.float64]
    functionals_strained: NDArray[np.float64]
    carried: NDArray[np.float64]
    volume: float

    @property
    def n_strains(self) -> int:
        """How many strains there are."""
        return int(self.strained.shape[1])


def periodic_load(packing: Packing, pairs: NDArray[np.int64] | None = None) -> Load:
    """All strains of a periodic box, in the order of its elastic constants.

    Pairs (n_pairs, 2) of nodes are read off as well: how much their distance grows, as a part of
    it. Without a box there are no strains: then nodes are held as far as rigid motions go.
    """
    n, d = packing.n_particles, packing.dimension
    held = np.zeros((n, d), dtype=bool)
    vector = bond_vectors(packing)
    if packing.box is None:
        _pin(held, np.asarray(packing.positions))
        basis, volume = np.zeros((0, d, d)), 1.0
    else:
        held[-1] = True
        basis, volume = strain_basis(d), packing.volume
    length = np.linalg.norm(vector, axis=1)
    strained = np.einsum("mi,aij,mj->ma", vector, basis, vector) / length[:, None]
    functionals, own = pair_extensions(packing, np.zeros((0, 2), dtype=np.int64))
    if pairs is not None:
        functionals, own = pair_extensions(packing, pairs)
    carried = np.einsum("aij,nj->ani", basis, np.asarray(packing.positions))
    return Load(held, strained, functionals, own[:, : len(basis)], carried, volume)


def _pin(held: NDArray[np.bool_], x: NDArray[np.float64]) -> None:
    """Hold one node, and what of two others keeps the network from turning: exact without loads."""
    n, d = held.shape
    first = n - 1
    away = x - x[first]
    second = int(np.argmax(np.einsum("ij,ij->i", away, away)))
    held[first] = True
    axis = np.argsort(np.abs(away[second]))  # across the line to the second, not along it
    held[second, axis[: d - 1]] = True
    if d == 3:
        line = away[second] / np.linalg.norm(away[second])
        off = away - np.outer(away @ line, line)
        third = int(np.argmax(np.einsum("ij,ij->i", off, off)))
        normal = np.cross(line, off[third])
        held[third, int(np.argmax(np.abs(normal)))] = True


def pair_extensions(
    packing: Packing, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For pairs of nodes, how displacements (n_pairs, N, d) and strains change their distance.

    As a part of it. Raises `InputError` for pairs that are none, or lie at one place.
    """
    n, d = packing.n_particles, packing.dimension
    basis = strain_basis(d)
    ends = whole_numbers("pairs", pairs, "integers (n_pairs, 2)")
    if ends.ndim != 2 or ends.shape[1] != 2:
        raise InputError(f"pairs have shape {ends.shape}: they must be integers (n_pairs, 2).")
    if ends.size and (ends.min() < 0 or ends.max() >= n):
        raise InputError(f"pairs reach from {ends.min()} to {ends.max()}: there are {n} nodes.")
    x = np.asarray(packing.positions)
    apart = x[ends[:, 1]] - x[ends[:, 0]]
    if packing.box is not None and len(apart):
        apart = nearest_images(apart, np.asarray(packing.box))
    square = np.einsum("mi,mi->m", apart, apart)
    if not square.all():
        i, j = ends[np.argmin(square)]
        raise InputError(f"pairs: nodes {i} and {j} lie at one place, and have no distance.")
    out = np.zeros((len(ends), n, d))
    rows = np.arange(len(ends))
    np.add.at(out, (rows, ends[:, 1]), apart / square[:, None])
    np.add.at(out, (rows, ends[:, 0]), -apart / square[:, None])
    own = np.einsum("mi,aij,mj->ma", apart, basis, apart) / square[:, None]
    return out, own


def edge_nodes(packing: Packing, depth: float = 0.6) -> dict[str, NDArray[np.int64]]:
    """The nodes at the edges of an open network in the plane: left, right, bottom and top.

    Those not farther from the outermost node than `depth` mean bond lengths.

    Raises `FeatureError` for a network in a box or in space.
    """
    check_bonded(packing)
    positive("depth", depth)
    if packing.box is not None or packing.dimension != 2:
        raise FeatureError("only open networks in the plane have edges: leave the box out.")
    x = np.asarray(packing.positions)
    reach = depth * float(np.mean(np.linalg.norm(bond_vectors(packing), axis=1)))
    low, high = x.min(axis=0), x.max(axis=0)
    return {
        "left": np.flatnonzero(x[:, 0] <= low[0] + reach),
        "right": np.flatnonzero(x[:, 0] >= high[0] - reach),
        "bottom": np.flatnonzero(x[:, 1] <= low[1] + reach),
        "top": np.flatnonzero(x[:, 1] >= high[1] - reach),
    }


def _check_edges(
    packing: Packing, edges: dict[str, NDArray[np.int64]], names: Sequence[str]
) -> None:
    """Raise `InputError` for edges that are none, or lie on each other."""
    check_kind("edges", edges, Mapping, "nodes by left, right, bottom and top")
    x = np.asarray(packing.positions)
    for k, name in enumerate(names):
        if name not in edges:
            raise InputError(f"edges: {name!r} is missing: there are left, right, bottom and top.")
        nodes = whole_numbers(f"edges[{name!r}]", edges[name])
        if not nodes.size or nodes.min() < 0 or nodes.max() >= len(x):
            raise InputError(f"edges[{name!r}] are {nodes.tolist()}: there are {len(x)} nodes.")
        if k % 2 and not x[nodes, k // 2].min() > x[edges[names[k - 1]], k // 2].max():
            raise InputError(f"edges: {names[k - 1]} and {name} are not apart.")


def between_plates(packing: Packing, axis: int, edges: dict[str, NDArray[np.int64]]) -> Load:
    """Uniaxial load of an open network between two plates without friction, along an axis.

    The strain is that of the plates' distance. Read off is the strain across: how much farther
    apart the mean places of the nodes at the free edges are, so that ν = -(what is read off).
    Source: Zhu et al. (Fig. 1a; Fig. 3, "compression strain ... on its top surface").
    """
    names: Sequence[str] = ("left", "right", "bottom", "top")
    if packing.box is not None or packing.dimension != 2:
        raise FeatureError("only open networks in the plane are pressed between plates.")
    _check_edges(packing, edges, names)
    low, high = (edges[k] for k in names[2 * axis : 2 * axis + 2])
    free_low, free_high = (edges[k] for k in names[2 - 2 * axis : 4 - 2 * axis])
    n, d = packing.n_particles, packing.dimension
    x = np.asarray(packing.positions)
    across = 1 - axis
    held = np.zeros((n, d), dtype=bool)
    held[low, axis] = held[high, axis] = True
    held[low[0], across] = True  # plates let the network slide: nothing pushes there
    apart = x[high, axis].mean() - x[low, axis].mean()
    moved = np.zeros((n, d))
    moved[high, axis] = apart
    bonds, unit = np.asarray(packing.bonds), bond_units(packing)
    strained = np.einsum("mi,mi->m", unit, moved[bonds[:, 1]] - moved[bonds[:, 0]])
    width = x[free_high, across].mean() - x[free_low, across].mean()
    read = np.zeros((1, n, d))
    read[0, free_high, across] += 1.0 / (len(free_high) * width)
    read[0, free_low, across] -= 1.0 / (len(free_low) * width)
    own = np.einsum("fnd,nd->f", read, moved)[:, None]
    return Load(held, strained[:, None], read, own, moved[None], apart * width)
