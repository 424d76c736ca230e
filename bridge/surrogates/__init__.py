"""Surrogates: networks' Poisson's ratio learned from examples, and the baselines beside them.

An optional extra, ``pip install 'amorph[surrogate]'``: flax, optax and orbax. Solving for the
answer takes a millisecond (`amorph.bridge.networks.NetworkResponse`); these are for what cannot be
solved for, and to compare with.
Source: Zhu et al., "A cyclical route linking fundamental mechanism and AI algorithm", Fig. 5 and
Methods, "Prediction of Poisson's ratio through deep learning".
"""

from ..errors import MissingExtraError

try:
    import flax as flax
    import orbax.checkpoint as _checkpoint  # noqa: F401
except ImportError as error:  # said by name where it is asked for
    raise MissingExtraError(
        f"amorph.bridge.surrogates needs {error.name}: pip install 'amorph[surrogate]'."
    ) from error

from .baselines import ModeRegression
from .data import Examples, examples, split
from .inputs import dynamical_matrix, picture
from .training import History, Surrogate, train

__all__ = [
    "Examples",
    "History",
    "ModeRegression",
    "Surrogate",
    "dynamical_matrix",
    "examples",
    "picture",
    "split",
    "train",
]
