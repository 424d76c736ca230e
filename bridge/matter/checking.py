"""That a formula of a user's can be used: looked at once, before anything is computed with it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from amorph.handover import InputError

from . import searching

if TYPE_CHECKING:
    from .potentials import PairPotential

__all__ = ["check_formula"]

# Distances, as parts of the cutoff, at which the formula is evaluated.
AT = (0.5, 0.7, 0.9, 0.999, 1.001, 3.0)
# A break that is stated may lie so far, as a part of itself, from one that is found.
SAME = 1e-6

_EXAMINED: "set[type[PairPotential]]" = set()  # a registry of classes


def check_formula(theta: "PairPotential", *, again: bool = False) -> None:
    """Raise `InputError` for a formula that cannot be used, naming what is wrong with it.

    It is evaluated for each pair of types: it must be JAX arithmetic on distances and declared
    parameters, element by element, and u'' must jump where the class says, if it says, and nowhere
    else that a search finds. Done for the first object of a class, and ``again`` where asked for.
    """
    kind = theta.kind
    if kind in _EXAMINED and not again:
        return
    name = kind.__name__
    i, j = np.triu_indices(theta.n_types)
    pair = {k: np.asarray(v)[i, j] for k, v in theta.of_types().items()}
    cutoff = np.asarray(_tried(kind, "pair_cutoff", kind.pair_cutoff, pair))
    if cutoff.shape != i.shape or not (np.isfinite(cutoff) & (cutoff > 0)).all():
        raise InputError(
            f"{name}.pair_cutoff gives {cutoff.tolist()} for {theta!r}: it must give a finite "
            "distance greater than 0 for each pair of types."
        )
    r = np.multiply.outer(np.array(AT), cutoff)
    wide = {k: np.broadcast_to(v, r.shape) for k, v in pair.items()}
    u, slope, curvature, _ = _tried(kind, "pair_energy", searching.evaluated, kind, r, wide)
    wrong = ~(np.isfinite(u) & np.isfinite(slope) & np.isfinite(curvature))
    if wrong.any():
        k, p = np.argwhere(wrong)[0]
        raise InputError(
            f"{name}.pair_energy at r = {r[k, p]:.6g} for {theta!r}: u = {u[k, p]}, "
            f"u' = {slope[k, p]}, u'' = {curvature[k, p]}: they must be finite. Where a branch of "
            "jnp.where is not taken, its argument must be harmless too."
        )
    _check_breaks(theta, pair, cutoff)
    _EXAMINED.add(kind)


def _tried(kind: Any, which: str, function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except KeyError as error:
        names = ", ".join(["sigma", *(p.name for p in kind.parameters)])
        raise InputError(
            f"{kind.__name__}.{which} reads pair[{error}], which is not declared: there are "
            f"{names}. Name it in parameters."
        ) from error
    except InputError:
        raise
    except Exception as error:  # whatever a formula of a user's may raise
        raise InputError(
            f"{kind.__name__}.{which} cannot be used: {type(error).__name__}: {error}. It must be "
            "arithmetic by jax.numpy on a distance and the parameters of a pair."
        ) from error


def _check_breaks(theta: "PairPotential", pair: Any, cutoff: Any) -> None:
    kind = theta.kind
    stated = [np.asarray(b) for b in _tried(kind, "pair_breaks", kind.pair_breaks, pair)]
    at = np.stack([np.broadcast_to(b, cutoff.shape) for b in stated])
    if not np.allclose(at[-1], cutoff, rtol=1e-12, atol=0):
        raise InputError(
            f"{kind.__name__}.pair_breaks ends at {at[-1].tolist()}: the last break is the cutoff, "
            f"{cutoff.tolist()}."
        )
    if not theta.states_breaks:
        return
    found = searching.find_breaks(kind, pair)
    for k, p in np.argwhere(found < cutoff):
        if not (np.abs(at[:, p] - found[k, p]) <= SAME * found[k, p]).any():
            raise InputError(
                f"{kind.__name__}: u'' jumps at r = {found[k, p]:.9g} for {theta!r}, which "
                f"pair_breaks does not say: it gives {at[:, p].tolist()}. Add it, or leave "
                "pair_breaks out to have the breaks looked for."
            )
