"""Whether JAX transforms what is given, so that it has no numbers."""

from typing import Any

import jax

__all__ = ["traced"]


def traced(tree: Any) -> bool:
    """Whether any leaf of a tree is traced by a JAX transformation."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree_util.tree_leaves(tree))
