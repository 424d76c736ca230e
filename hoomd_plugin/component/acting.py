"""How a pair force acted in a run, for its logger: what acted besides, what it left out.

Texts are logged as HOOMD-blue's GSD writer writes them, as bytes that a zero ends, and each in as
many bytes in every frame, so that writers of tables (HDF5) take them too.
"""

import numpy as np

__all__ = ["as_bytes", "exclusions_at_work", "others_at_work"]

NOTHING = "none"
_NO_BODY = 0xFFFFFFFF


def as_bytes(text, width):
    """A text as numbers, (width,) int8, cut to fit if need be."""
    encoded = text.encode("ascii", "replace")
    if len(encoded) >= width:
        encoded = encoded[: width - 4] + b"..."
    return np.frombuffer(encoded.ljust(width, b"\0"), dtype=np.int8).copy()


def others_at_work(simulation, force):
    """The names of all that moves or holds the particles besides a force: ``md.bond.Harmonic``."""
    integrator = simulation.operations.integrator
    others = [f for f in getattr(integrator, "forces", ()) if f is not force]
    others += getattr(integrator, "constraints", ())
    rigid = getattr(integrator, "rigid", None)
    if rigid is not None:
        others.append(rigid)
    methods = getattr(integrator, "methods", ())
    others += [m for m in methods if getattr(m, "manifold_constraint", None) is not None]
    return ", ".join(_name(type(other)) for other in others) or NOTHING


def _name(kind):
    parts = kind.__module__.split(".")
    if parts[0] == "hoomd":  # hoomd.md.pair.pair.LJ is known as hoomd.md.pair.LJ
        parts = list(dict.fromkeys(parts[1:]))
    return ".".join([*parts, kind.__name__])


def exclusions_at_work(simulation, nlist):
    """The exclusions of a neighbour list that leave out pairs here, by name: ``bond, 1-3``."""
    state = simulation.state
    there = {
        "bond": state.N_bonds,
        "1-3": state.N_bonds,
        "1-4": state.N_bonds,
        "angle": state.N_angles,
        "dihedral": state.N_dihedrals,
        "special_pair": state.N_special_pairs,
        "constraint": state.N_constraints,
    }
    found = [name for name in nlist.exclusions if there.get(name, 0) > 0]
    if "meshbond" in nlist.exclusions and _mesh(nlist) is not None:
        found.append("meshbond")
    if "body" in nlist.exclusions and _has_bodies(simulation):
        found.append("body")
    return ", ".join(found) or NOTHING


def _mesh(nlist):
    # From HOOMD-blue 5 on it is a public attribute.
    return getattr(nlist, "mesh", None) or getattr(nlist, "_mesh", None)


def _has_bodies(simulation):
    if getattr(simulation.operations.integrator, "rigid", None) is not None:
        return True
    if simulation.device.communicator.num_ranks > 1:
        return True  # bodies may lie with another rank, which need not be asked at this moment
    with simulation.state.cpu_local_snapshot as local:
        body = np.array(local.particles.body, dtype=np.int64, copy=True)
    return bool(((body & _NO_BODY) != _NO_BODY).any())
