"""Amorph for HOOMD-blue: pair forces, ensembles of packings, forces from JAX functions.

.. code-block:: python

    import hoomd
    import hoomd.amorph

    cell = hoomd.md.nlist.Cell(buffer=0.3)
    force = hoomd.amorph.pair.HarmonicMorse(nlist=cell)
    force.params[("A", "A")] = dict(sigma=1.0, binding=0.1, stiffness=5.0, alpha=6.0)
"""

import hoomd
from hoomd.amorph import _amorph

if _amorph.hoomd_version != hoomd.version.version:
    raise ImportError(
        f"hoomd.amorph was built for HOOMD-blue {_amorph.hoomd_version}, but this is "
        f"{hoomd.version.version}: build it again, with this HOOMD-blue's environment active."
    )

from hoomd.amorph import force, pair, prepare

__all__ = ["built_for_gpu", "force", "pair", "prepare"]


def built_for_gpu() -> bool:
    """Whether the pair forces run on GPUs: whether the HOOMD-blue they were built for does."""
    return bool(_amorph.gpu)
