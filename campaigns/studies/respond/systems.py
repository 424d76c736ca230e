"""The same packing with other parameters to tune: species of its own kinds.

Source: Zu, Desai and Goodrich, "Fully independent response in disordered solids": particles are
assigned anew to species "comprised of only big or small particles", which "does not in any way
affect the initial system, but ... does change the parameterization".
"""

import numpy as np

from amorph import bridge
from amorph.handover import InputError, pair_places

__all__ = ["in_species"]


def in_species(
    theta: bridge.PairPotential, packing: bridge.Packing, n_species: int, key: tuple[int, int]
) -> tuple[bridge.PairPotential, bridge.Packing]:
    """A packing whose particles are assigned at random to species of their own type.

    Parameters
    ----------
    theta, packing:
        A packing at rest, and its potential of T types.
    n_species:
        How many there are to be: T of them share the types as evenly as they can, the first ones
        one more; each species has particles.
    key:
        Of the random numbers: a seed, and the packing's number.

    Returns the potential of `n_species` types and the packing, at rest as it was.

    Raises `InputError` for fewer species than types, or more than particles of a type.
    """
    n_types = theta.n_types
    if n_species < n_types:
        raise InputError(f"species = {n_species}: there are {n_types} types already.")
    shares = [len(part) for part in np.array_split(np.arange(n_species), n_types)]
    rng = np.random.default_rng([*key, 1])
    typeid = np.zeros(packing.n_particles, dtype=np.int64)
    first = 0
    for kind, share in enumerate(shares):
        members = np.flatnonzero(packing.typeid == kind)
        if len(members) < share:
            raise InputError(
                f"species = {n_species}: {share} of type {kind} have only {len(members)} particles."
            )
        typeid[rng.permutation(members)] = first + np.arange(len(members)) % share
        first += share
    source = np.repeat(np.arange(n_types), shares)
    arrays = theta.arrays()
    rows, columns = np.triu_indices(n_species)
    pairs = pair_places(n_types)[source[rows], source[columns]]
    per_pair = {p.name: p.per_pair for p in theta.declared}
    wider = {k: v[pairs] if per_pair[k] else v[source] for k, v in arrays.items()}
    new = bridge.from_arrays(theta.potential, wider)
    moved = bridge.Packing.of(packing.positions, typeid, packing.box, images=packing.images)
    return new, bridge.relax(new, moved)
