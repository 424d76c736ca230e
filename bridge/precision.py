"""Float64: switched on for JAX when `amorph.bridge` is imported, and checked at each entry."""

import jax

from .errors import PrecisionError

__all__ = ["require_float64"]

jax.config.update("jax_enable_x64", True)


def require_float64() -> None:
    """Raise `PrecisionError` if JAX has been switched back to float32 since the import."""
    if not jax.config.read("jax_enable_x64"):
        raise PrecisionError(
            "JAX computes in float32: 'jax_enable_x64' was switched off after amorph.bridge "
            "switched it on. Packings cannot be relaxed to 1e-12 in it: switch it on again with "
            "jax.config.update('jax_enable_x64', True)."
        )
