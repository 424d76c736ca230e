"""Rigid clusters of equal sticky spheres or discs, and the ways from one to the next.

Spheres that touch stay in touch; a cluster is rigid where its contacts leave it no motion. Breaking
one contact leaves one motion, which ends where other spheres come to touch: at the next rigid
cluster. All clusters of a number of spheres are found in this way from one of them (Holmes-Cerfon,
SIAM Rev. 58, 229 (2016)); for 6, 7 and 8 spheres there are 2, 5 and 13 up to mirror images (Arkus,
Manoharan and Brenner, Phys. Rev. Lett. 103, 118303 (2009)).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import networkx
import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import InputError
from amorph.handover.arguments import check_kind, count, described, positive, real_numbers
from amorph.handover.showing import shown

from ..errors import FloppyModeError, PathError
from ..matter.packing import Packing
from .paths import aligned

__all__ = [
    "Breaking",
    "Cluster",
    "break_contact",
    "rigid_clusters",
    "same_cluster",
    "transition_graph",
]

# Spheres touch where their distance is one diameter, to this part of it.
TOUCH = 1e-7
# Of the rigidity matrix, a singular value below this is a motion.
FLOPPY = 1e-8
# A step along a motion, in diameters, and how many there are at most.
STEP = 0.02
MOST_STEPS = 2000
# Clusters that agree to this, in diameters, are one.
SAME = 1e-5


@dataclass(frozen=True, eq=False)
class Cluster:
    """Equal spheres (or discs) of diameter 1 and which of them touch.

    Attributes: positions, (N, d); contacts, (M, 2), i < j, in order.
    """

    positions: NDArray[np.float64]
    contacts: NDArray[np.int64]

    @classmethod
    def of(cls, positions: ArrayLike, *, diameter: float = 1.0, touch: float = 1e-3) -> "Cluster":
        """The cluster of spheres at positions (N, d), which touch within a part of a diameter.

        Raises `InputError` for other arrays, `FloppyModeError` where contacts do not hold it.
        """
        x = real_numbers("positions", positions, "(N, 2) or (N, 3) numbers")
        if x.ndim != 2 or x.shape[1] not in (2, 3):
            raise InputError(f"positions have shape {x.shape}: they must be (N, 2) or (N, 3).")
        positive("diameter", diameter)
        x = x / diameter
        found = cls(x, _touching(x, touch))
        settled = _settled(x, found.contacts)
        if settled is None or _motions(settled, found.contacts).shape[1]:
            raise FloppyModeError(
                f"the {len(found.contacts)} contacts of the {len(x)} particles leave them free to "
                "move: this is no rigid cluster."
            )
        return cls(settled, found.contacts)

    @property
    def n_particles(self) -> int:
        """N."""
        return len(self.positions)

    @property
    def dimension(self) -> int:
        """d."""
        return int(self.positions.shape[1])

    @cached_property
    def graph(self) -> networkx.Graph:
        """Particles and the contacts between them."""
        out = networkx.Graph()
        out.add_nodes_from(range(self.n_particles))
        out.add_edges_from(self.contacts.tolist())
        return out

    @property
    def mirrored(self) -> "Cluster":
        """Its mirror image, the particles' numbers kept."""
        return Cluster(
            self.positions * np.where(np.arange(self.dimension) == 0, -1.0, 1.0), self.contacts
        )

    @cached_property
    def chiral(self) -> bool:
        """Whether no rotation and renumbering turns it into its mirror image."""
        return next(_maps(self, self.mirrored), None) is None

    @cached_property
    def symmetry_number(self) -> int:
        """How many rotations lead to the same cluster with other numbers, the identity included."""
        return sum(1 for _ in _maps(self, self))

    def packing(self) -> Packing:
        """The particles as a packing in open space, each of a type of its own."""
        return Packing.of(self.positions, np.arange(self.n_particles))

    def __repr__(self) -> str:
        degrees = sorted((d for _, d in self.graph.degree()), reverse=True)
        return shown(
            f"Cluster of {self.n_particles} particles in {self.dimension} dimensions",
            [
                ("contacts", f"{len(self.contacts)}; of each particle {degrees}"),
                ("symmetry number", f"{self.symmetry_number}{', chiral' if self.chiral else ''}"),
            ],
        )


@dataclass(frozen=True, eq=False)
class Breaking:
    """What comes of a cluster when one contact breaks and the others hold.

    Attributes
    ----------
    broken:
        (n, 2), the contacts that break: one, unless there were more than hold the cluster.
    path:
        (n_points, N, d), from the cluster to the next, steps of equal length but the last.
    end:
        The next cluster, with the same numbers.
    formed:
        (n, 2), the contacts that are new there.
    """

    broken: NDArray[np.int64]
    path: NDArray[np.float64]
    end: Cluster
    formed: NDArray[np.int64]


def _touching(x: NDArray[np.float64], within: float) -> NDArray[np.int64]:
    i, j = np.triu_indices(len(x), 1)
    r = np.linalg.norm(x[j] - x[i], axis=1)
    near = np.abs(r - 1.0) <= within
    return np.stack([i[near], j[near]], axis=1)


def _rigidity(x: NDArray[np.float64], contacts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Derivatives of the contacts' lengths by positions, (M, N d)."""
    n, d = x.shape
    i, j = contacts.T
    unit = x[j] - x[i]
    unit = unit / np.linalg.norm(unit, axis=1)[:, None]
    out = np.zeros((len(contacts), n, d))
    rows = np.arange(len(contacts))
    out[rows, i], out[rows, j] = -unit, unit
    return out.reshape(len(contacts), n * d)


def _rigid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal translations and rotations, (N d, d (d + 1)/2)."""
    n, d = x.shape
    own = x - x.mean(axis=0)
    columns = [np.tile(np.eye(d)[a], n) for a in range(d)]
    for a in range(d):
        for b in range(a):
            turn = np.zeros((d, d))
            turn[a, b], turn[b, a] = 1.0, -1.0
            columns.append((own @ turn.T).ravel())
    q, _ = np.linalg.qr(np.stack(columns, axis=1))
    return q


def _motions(x: NDArray[np.float64], contacts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Orthonormal motions that contacts allow, rigid ones apart, (N d, n_motions)."""
    held = np.concatenate([_rigidity(x, contacts), _rigid(x).T])
    _, values, rows = np.linalg.svd(held, full_matrices=True)
    rank = int(np.sum(values > FLOPPY))
    return rows[rank:].T


def _settled(x: NDArray[np.float64], contacts: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Positions nearby at which all contacts have length 1; None where there are none."""
    for _ in range(20):
        i, j = contacts.T
        off = np.linalg.norm(x[j] - x[i], axis=1) - 1.0
        if np.abs(off).max(initial=0.0) < 1e-14:
            return x
        step = np.linalg.lstsq(_rigidity(x, contacts), -off, rcond=1e-10)[0]
        x = x + step.reshape(x.shape)
        if not np.isfinite(x).all() or np.abs(step).max() > 0.5:
            return None
    i, j = contacts.T
    off = np.linalg.norm(x[j] - x[i], axis=1) - 1.0
    return x if np.abs(off).max(initial=0.0) < 1e-12 else None


def break_contact(cluster: Cluster, contact: ArrayLike) -> Breaking:
    """Break a contact of a rigid cluster, and follow the motion that is left to its end.

    Parameters
    ----------
    cluster:
        Rigid.
    contact:
        (2,), a pair of particles that touch; or (n, 2), several, where there are more contacts than
        hold it.

    Raises
    ------
    InputError
        For a pair that does not touch.
    FloppyModeError
        Where breaking it leaves several motions.
    PathError
        Where it leaves none, or none in which the broken contacts open, or the motion has no end.

    Example
    -------
    >>> octahedron = landscapes.rigid_clusters(6)[0]
    >>> landscapes.break_contact(octahedron, octahedron.contacts[0]).end
    """
    check_kind("cluster", cluster, Cluster, "a Cluster, as rigid_clusters gives them")
    given = np.atleast_2d(real_numbers("contact", contact, "two particles, or several such pairs"))
    if given.ndim != 2 or given.shape[1] != 2 or not len(given):
        raise InputError(f"contact has shape {given.shape}: it must be (2,) or (n, 2).")
    broken = np.sort(given.astype(np.int64), axis=1)
    own = [tuple(c) for c in cluster.contacts.tolist()]
    gone = {tuple(c) for c in broken.tolist()}
    for c in gone.difference(own):
        raise InputError(f"contact {list(c)}: these do not touch.")
    kept = np.array([c for c in own if c not in gone], dtype=np.int64).reshape(-1, 2)
    return _followed(cluster, broken, kept)


def _followed(cluster: Cluster, broken: NDArray[np.int64], kept: NDArray[np.int64]) -> Breaking:
    told = f"breaking {broken.tolist()}"
    x = cluster.positions
    motions = _motions(x, kept)
    if motions.shape[1] != 1:
        message = f"{told} leaves {motions.shape[1]} motions, not one."
        raise FloppyModeError(message) if motions.shape[1] else PathError(message)
    way = motions[:, 0]
    opening = _rigidity(x, broken) @ way
    if np.any(opening > FLOPPY) and np.any(opening < -FLOPPY):
        raise PathError(f"{told} leaves a motion that closes one of them while it opens another.")
    way = way * (1.0 if opening.sum() > 0 else -1.0)
    i, j = np.triu_indices(cluster.n_particles, 1)
    number = i * cluster.n_particles + j
    free = ~np.isin(number, kept @ [cluster.n_particles, 1])
    fresh = free & ~np.isin(number, broken @ [cluster.n_particles, 1])
    path = [x]
    for step in range(MOST_STEPS):
        tried = _along(x, way, STEP, kept)
        # Those that broke may touch again once they have gone.
        looked = fresh if step < 3 else free
        if np.any(np.linalg.norm(tried[j] - tried[i], axis=1)[looked] < 1.0):
            end = _first_touch(x, way, kept, i[looked], j[looked])
            path.append(end)
            contacts = _touching(end, TOUCH)
            new = [c for c in contacts.tolist() if c not in kept.tolist()]
            formed = np.array(new, dtype=np.int64).reshape(-1, 2)
            return Breaking(broken, np.stack(path), Cluster(end, contacts), formed)
        following = _motions(tried, kept)
        if following.shape[1] != 1:
            raise FloppyModeError(f"{told}: the way meets a place of {following.shape[1]} motions.")
        way = following[:, 0] * np.sign(following[:, 0] @ way)
        x = tried
        path.append(x)
    raise PathError(f"{told} leaves a motion without an end.")


def _along(
    x: NDArray[np.float64], way: NDArray[np.float64], length: float, kept: NDArray[np.int64]
) -> NDArray[np.float64]:
    found = _settled(x + length * way.reshape(x.shape), kept)
    if found is None:
        raise PathError("a motion could not be followed: its contacts cannot all be kept.")
    return found


def _first_touch(
    x: NDArray[np.float64],
    way: NDArray[np.float64],
    kept: NDArray[np.int64],
    i: NDArray[np.int64],
    j: NDArray[np.int64],
) -> NDArray[np.float64]:
    """The place within a step at which spheres first touch, by bisection."""
    low, high = 0.0, STEP
    for _ in range(60):
        middle = 0.5 * (low + high)
        there = _along(x, way, middle, kept)
        if np.any(np.linalg.norm(there[j] - there[i], axis=1) < 1.0):
            high = middle
        else:
            low = middle
    return _along(x, way, high, kept)


def _maps(one: Cluster, other: Cluster) -> Iterator[NDArray[np.int64]]:
    """Renumberings p by which a proper rotation brings the other on the first: other[p] on one."""
    matcher = networkx.algorithms.isomorphism.GraphMatcher(one.graph, other.graph)
    place = Packing.of(one.positions, np.zeros(one.n_particles, dtype=np.int32))
    for renumbered in matcher.isomorphisms_iter():
        p = np.array([renumbered[k] for k in range(one.n_particles)])
        apart = aligned(place, other.positions[p]) - one.positions
        if np.sqrt(np.max(np.sum(apart**2, axis=1))) < SAME:
            yield p


def same_cluster(one: Cluster, other: Cluster, *, mirror: bool = True) -> NDArray[np.int64] | None:
    """The renumbering (N,) that makes one cluster of another; None where they are different.

    Particle p[k] of the other is then in the place of particle k of the first, after a rotation;
    with ``mirror`` also after a reflection.

    Raises `InputError` for what is no cluster.
    """
    for name, cluster in (("one", one), ("other", other)):
        check_kind(name, cluster, Cluster, "a Cluster, as rigid_clusters gives them")
    if one.positions.shape != other.positions.shape:
        return None
    found = next(_maps(one, other), None)
    if found is None and mirror:
        found = next(_maps(one, other.mirrored), None)
    return found


def _stacked(n: int, d: int) -> Cluster:
    """A cluster of simplices, each on a face of one before."""
    x = np.zeros((d + 1, d))
    x[1, 0] = 1.0
    x[2, :2] = 0.5, np.sqrt(0.75)
    if d == 3:
        x[3] = 0.5, np.sqrt(0.75) / 3.0, np.sqrt(2.0 / 3.0)
    while len(x) < n:
        for face in _faces(x):
            at = _on_face(x, face)
            if np.linalg.norm(x - at, axis=1).min() > 1.0 - TOUCH:
                x = np.concatenate([x, at[None]])
                break
    return Cluster(x, _touching(x, TOUCH))


def _faces(x: NDArray[np.float64]) -> Iterator[tuple[int, ...]]:
    """Triangles (in the plane edges) of spheres that touch, either way round."""
    graph = networkx.Graph(_touching(x, TOUCH).tolist())
    d = x.shape[1]
    for clique in networkx.enumerate_all_cliques(graph):
        if len(clique) == d:
            yield tuple(clique)
            yield (clique[1], clique[0], *clique[2:])


def _on_face(x: NDArray[np.float64], face: tuple[int, ...]) -> NDArray[np.float64]:
    """The place that touches all spheres of a face, on the side of its order."""
    corners = x[list(face)]
    middle = corners.mean(axis=0)
    edges = corners[1:] - corners[0]
    normal = np.array([-edges[0, 1], edges[0, 0]]) if len(edges) == 1 else np.cross(*edges)
    height = np.sqrt(1.0 - np.sum((corners[0] - middle) ** 2))
    out: NDArray[np.float64] = middle + height * normal / np.linalg.norm(normal)
    return out


def rigid_clusters(n: int, dimension: int = 3) -> list[Cluster]:
    """All rigid clusters of n equal sticky spheres that breaking contacts leads to, most contacts
    first; of mirror images one.

    Parameters
    ----------
    n:
        How many spheres; 9 take a minute, and from there on there are clusters that a single broken
        contact does not lead to (Holmes-Cerfon 2016).
    dimension:
        3, or 2 for discs.

    Raises `InputError` for other numbers.

    Example
    -------
    >>> [len(landscapes.rigid_clusters(n)) for n in (6, 7, 8)]
    [2, 5, 13]
    """
    return list(_explored(n, dimension)[0])


def transition_graph(n: int, dimension: int = 3) -> networkx.MultiDiGraph:
    """Which rigid cluster each contact's breaking leads to, for all of n spheres.

    Returns a graph whose nodes are numbers in the order of `rigid_clusters`, with ``cluster``, and
    whose edges, one a contact of a cluster, have a `Breaking` as ``breaking``.

    Raises `InputError` as `rigid_clusters` does.

    Example
    -------
    >>> graph = landscapes.transition_graph(6)
    >>> graph.number_of_edges(0, 1)
    12
    """
    clusters, breakings = _explored(n, dimension)
    out = networkx.MultiDiGraph()
    for k, cluster in enumerate(clusters):
        out.add_node(k, cluster=cluster)
    for k, end, breaking in breakings:
        out.add_edge(k, end, breaking=breaking)
    return out


def _breakable(cluster: Cluster) -> Iterator[NDArray[np.int64]]:
    """The sets of contacts to break: single ones, more where more than needed hold the cluster."""
    n, d = cluster.positions.shape
    number = len(cluster.contacts) - (n * d - d * (d + 1) // 2) + 1
    for chosen in combinations(range(len(cluster.contacts)), max(number, 1)):
        yield cluster.contacts[list(chosen)]


def _explored(n: int, dimension: int) -> tuple[list[Cluster], list[tuple[int, int, Breaking]]]:
    if dimension not in (2, 3):
        raise InputError(f"dimension = {described(dimension)}: it must be 2 or 3.")
    count("n", n, least=dimension + 1)
    clusters = [_stacked(n, dimension)]
    breakings: list[tuple[int, int, Breaking]] = []
    done = 0
    while done < len(clusters):
        for broken in _breakable(clusters[done]):
            try:
                breaking = break_contact(clusters[done], broken)
            except (PathError, FloppyModeError):  # nothing can move, or more than one way
                continue
            known: Any = (
                k for k, c in enumerate(clusters) if same_cluster(c, breaking.end) is not None
            )
            end = next(known, None)
            if end is None:
                end = len(clusters)
                clusters.append(breaking.end)
            breakings.append((done, end, breaking))
        done += 1
    order = sorted(
        range(len(clusters)),
        key=lambda k: (-len(clusters[k].contacts), -clusters[k].symmetry_number, k),
    )
    place = {k: at for at, k in enumerate(order)}
    moved = [(place[a], place[b], breaking) for a, b, breaking in breakings]
    return [clusters[k] for k in order], sorted(moved, key=lambda e: (e[0], e[1]))
