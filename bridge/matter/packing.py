"""One packing: where particles are, of which types, in which box."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from amorph.handover import Frame, InputError, check_box_matrix, wrap
from amorph.handover.arguments import check_kind, described, real_numbers, whole_numbers
from amorph.handover.showing import box_shown, shown

__all__ = ["Packing"]

_FIELDS = ("positions", "typeid", "box", "bonds", "images", "fixed")


@dataclass(frozen=True, eq=False, repr=False)
class Packing:
    """N particles in d = 2 or 3 dimensions, reduced units.

    Attributes
    ----------
    positions:
        (N, d) float64.
    typeid:
        (N,) int32.
    box:
        (d, d) float64, columns the box vectors; None for a cluster in open space.
    bonds:
        (M, 2) int32 or None.
    images:
        (N, d) int32: how many boxes a particle was carried over since it started; None: none.
    fixed:
        (N,) bool: which particles are held where they are, such as a wall's; None: none. They
        follow a strain of the box, and no force moves them.

    A JAX pytree. Its arrays are NumPy's, read-only, unless JAX transforms it; what JAX puts in
    their place is not checked. `Packing.of` takes anything array-like, and wants the box upper
    triangular (see `amorph.handover.boxes`), as files do.

    Raises `InputError` for arrays of wrong shapes, types or values, naming the one.
    """

    positions: NDArray[np.float64]
    typeid: NDArray[np.int32]
    box: NDArray[np.float64] | None = None
    bonds: NDArray[np.int32] | None = None
    images: NDArray[np.int32] | None = None
    fixed: NDArray[np.bool_] | None = None
    # What was computed of this packing, for as long as it lives: see `amorph.bridge.response`.
    kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the arrays, and make them read-only: what was computed is kept with a packing."""
        for name in _FIELDS:
            value = getattr(self, name)
            if value is None and name not in ("positions", "typeid"):
                continue
            if not isinstance(value, (np.ndarray, jax.Array)):
                raise InputError(
                    f"{name} is {described(value)}: it must be an array. Packing.of takes anything "
                    "array-like."
                )
        _check(self)
        for name in _FIELDS:
            object.__setattr__(self, name, _read_only(getattr(self, name)))

    def __repr__(self) -> str:
        if not isinstance(self.positions, (np.ndarray, jax.Array)) or np.ndim(self.positions) != 2:
            return shown("Packing", ((name, described(getattr(self, name))) for name in _FIELDS))
        types = self.typeid  # a gradient's or a batch's are no types
        concrete = isinstance(types, np.ndarray) and types.ndim == 1 and types.dtype.kind in "iu"
        numbers = np.bincount(types).tolist() if concrete and types.min() >= 0 else []
        own_box = isinstance(self.box, np.ndarray) or self.box is None
        return shown(
            f"Packing of {self.n_particles} particles in {self.dimension} dimensions",
            [
                ("box", box_shown(self.box) if own_box else described(self.box)),
                ("density", f"{self.density:.6g}" if isinstance(self.box, np.ndarray) else ""),
                ("types", _types_shown(numbers)),
                ("bonds", "" if self.bonds is None else str(len(self.bonds))),
                ("fixed", f"{self.fixed.sum()}" if isinstance(self.fixed, np.ndarray) else ""),
            ],
        )

    @classmethod
    def of(
        cls,
        positions: ArrayLike,
        typeid: ArrayLike,
        box: ArrayLike | None = None,
        bonds: ArrayLike | None = None,
        images: ArrayLike | None = None,
        fixed: ArrayLike | None = None,
    ) -> Self:
        """Make a packing from anything array-like; raises `InputError` for what does not fit."""
        points = real_numbers("positions", positions, "(N, 2) or (N, 3) numbers")
        _check_shape(points)
        return cls(
            points,
            whole_numbers("typeid", typeid, "an integer for each particle"),
            None if box is None else check_box_matrix(box),
            None if bonds is None else _as_bonds(bonds),
            None if images is None else whole_numbers("images", images, "integers as positions"),
            None if fixed is None else np.asarray(fixed),
        )

    @classmethod
    def from_frame(cls, frame: Frame) -> Self:
        """The packing of a GSD frame, or of a replica of `amorph.ensemble.Ensemble.packings`.

        Raises `InputError` for what is no frame.
        """
        check_kind("frame", frame, Frame, "an amorph.handover.Frame")
        return cls(frame.positions, frame.typeid, frame.box, frame.bonds, frame.images)

    def __reduce__(self) -> Any:  # what is kept with it stays here
        return type(self), tuple(getattr(self, name) for name in _FIELDS)

    @property
    def n_particles(self) -> int:
        """N."""
        return int(self.positions.shape[0])

    @property
    def dimension(self) -> int:
        """d, 2 or 3."""
        return int(self.positions.shape[1])

    @property
    def volume(self) -> float:
        """The box's volume (area in two dimensions); raises `InputError` without a box."""
        if self.box is None:
            raise InputError("a cluster in open space has no volume: give the packing a box.")
        if not np.tril(self.box, -1).any():
            return float(np.prod(np.diagonal(self.box)))
        return float(np.linalg.det(self.box))

    @property
    def density(self) -> float:
        """N/V; raises `InputError` without a box."""
        return self.n_particles / self.volume

    def with_positions(self, positions: ArrayLike) -> Self:
        """The same packing at other positions (N, d); raises `InputError` as the constructor."""
        return replace(self, positions=real_numbers("positions", positions, "(N, d) numbers"))

    def wrapped(self) -> Self:
        """The same packing with every particle in the box, the boxes crossed added to `images`."""
        if self.box is None:
            return self
        positions, crossed = wrap(self.positions, self.box)
        if not crossed.any():
            return replace(self, positions=positions)
        images = crossed if self.images is None else self.images + crossed
        return replace(self, positions=positions, images=images.astype(np.int32))


def _flatten(packing: Packing) -> tuple[tuple[tuple[Any, Any], ...], None]:
    return tuple((jax.tree_util.GetAttrKey(k), getattr(packing, k)) for k in _FIELDS), None


def _unflatten(_: None, leaves: Any) -> Packing:
    # Leaves may be tracers, gradients or anything else: nothing is checked here.
    packing = object.__new__(Packing)
    for name, value in zip(_FIELDS, leaves, strict=True):
        object.__setattr__(packing, name, _read_only(value))
    object.__setattr__(packing, "kept", {})
    return packing


jax.tree_util.register_pytree_with_keys(Packing, _flatten, _unflatten)


def _read_only(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.flags.writeable:
        value = value.copy()  # whoever made the array may go on writing into it
        value.flags.writeable = False
    return value


def _types_shown(numbers: list[int]) -> str:
    if not numbers:
        return ""
    kept = [f"{number} of type {k}" for k, number in enumerate(numbers) if number]
    return ", ".join(kept[:6]) + (f", ... {len(kept)} types in all" if len(kept) > 6 else "")


def _check(packing: Packing) -> None:
    """Check a packing's NumPy arrays, and bring them to the types that they must be of."""
    x = packing.positions
    if not isinstance(x, np.ndarray):
        return
    _check_shape(x)
    n, d = x.shape
    points = x if x.dtype == np.float64 else real_numbers("positions", x)
    if not np.isfinite(points).all():
        i = int(np.argmin(np.isfinite(points).all(axis=1)))
        raise InputError(f"positions are not finite: particle {i} is at {points[i].tolist()}.")
    made: dict[str, Any] = {"positions": points}
    types = packing.typeid
    if isinstance(types, np.ndarray):
        if types.shape != (n,) or types.dtype.kind not in "iu" or types.min() < 0:
            raise InputError(
                f"typeid is {described(types)} of {types.dtype}: it must be {n} integers of at "
                "least 0, one for each position."
            )
        made["typeid"] = types.astype(np.int32, copy=False)
    if isinstance(packing.box, np.ndarray):
        made["box"] = _checked_box(packing.box, d)
    if isinstance(packing.bonds, np.ndarray):
        made["bonds"] = _checked_bonds(packing.bonds, n)
    images = packing.images
    if isinstance(images, np.ndarray):
        if images.shape != x.shape or images.dtype.kind not in "iu":
            raise InputError(
                f"images are {described(images)} of {images.dtype}: they must be integers "
                f"{x.shape}, as the positions."
            )
        made["images"] = images.astype(np.int32, copy=False)
    fixed = packing.fixed
    if isinstance(fixed, np.ndarray):
        if fixed.shape != (n,) or fixed.dtype != np.bool_:
            raise InputError(
                f"fixed is {described(fixed)} of {fixed.dtype}: it must be {n} Booleans, one for "
                "each position."
            )
        if fixed.all():
            raise InputError("fixed: every particle is held, and none is left to come to rest.")
    for name, value in made.items():
        object.__setattr__(packing, name, value)


def _check_shape(x: NDArray[Any]) -> None:
    if x.ndim != 2 or x.shape[1] not in (2, 3) or len(x) == 0:
        raise InputError(f"positions have shape {x.shape}: they must be (N, 2) or (N, 3).")


def _checked_box(box: NDArray[Any], dimension: int) -> NDArray[np.float64]:
    if box.ndim == 2 and box.shape[0] == box.shape[1] in (2, 3) and len(box) != dimension:
        raise InputError(f"positions are in {dimension} dimensions, box in {len(box)}.")
    if box.shape != (dimension, dimension):
        raise InputError(
            f"box has shape {box.shape}: it must be ({dimension}, {dimension}), its columns the "
            "box vectors, or None for open space."
        )
    matrix = box if box.dtype == np.float64 else real_numbers("box", box)
    if not np.isfinite(matrix).all():
        raise InputError(f"box is not finite: {matrix.tolist()}.")
    if not np.linalg.det(matrix) > 0:
        raise InputError(
            f"box has no volume, or is left-handed: {matrix.tolist()}. Its columns are the box "
            "vectors."
        )
    return matrix


def _as_bonds(bonds: ArrayLike) -> NDArray[Any]:
    pairs = np.asarray(bonds)
    if pairs.size == 0:
        return np.zeros((0, 2), dtype=np.int32)
    return whole_numbers("bonds", bonds, "integers (M, 2)")


def _checked_bonds(pairs: NDArray[Any], n: int) -> NDArray[np.int32]:
    """Bonds (M, 2) of n particles; raises `InputError` for what cannot be."""
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise InputError(f"bonds have shape {pairs.shape}: they must be integers (M, 2).")
    if pairs.size and (pairs.min() < 0 or pairs.max() >= n):
        raise InputError(
            f"bonds reach from {pairs.min()} to {pairs.max()}: there are {n} particles."
        )
    if (pairs[:, 0] == pairs[:, 1]).any():
        raise InputError("a bond joins a particle with itself.")
    return pairs.astype(np.int32, copy=False)
