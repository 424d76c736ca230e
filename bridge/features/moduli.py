"""Moduli and ratios of an elastic tensor alone: functions of C_ijkl, (d, d, d, d), in JAX.

The features of these names take them of a packing's tensor; the pruning of a network takes them of
thousands of tensors at once, one for each bond that might be cut.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from ..matter.strains import strain_basis

__all__ = [
    "anisotropy",
    "bulk_modulus",
    "elastic_constants",
    "lowest_modulus",
    "poisson_ratio",
    "poisson_ratios",
    "shear_moduli",
    "shear_modulus",
    "strain_index",
    "youngs_moduli",
    "youngs_modulus",
]


def strain_index(dimension: int) -> NDArray[np.int64]:
    """The index of the basis strain that each pair of axes belongs to, (d, d)."""
    if dimension == 2:
        return np.array([[0, 2], [2, 1]])
    return np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def _axes(tensor: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of axes: sums over them are fused with what follows, as einsum's are not."""
    i, j = np.indices(tensor.shape[:2]).reshape(2, -1)
    return i, j


def bulk_modulus(tensor: Array) -> Array:
    """B = C_iijj / d²."""
    i, j = _axes(tensor)
    return jnp.sum(tensor[i, i, j, j]) / tensor.shape[-1] ** 2


def shear_modulus(tensor: Array) -> Array:
    """G = (C_ijij - d B) / (d² + d - 2)."""
    d = tensor.shape[-1]
    i, j = _axes(tensor)
    return (jnp.sum(tensor[i, j, i, j]) - d * bulk_modulus(tensor)) / (d * d + d - 2)


def poisson_ratio(tensor: Array) -> Array:
    """ν = (d B - 2 G) / (d (d - 1) B + 2 G)."""
    d, bulk, shear = tensor.shape[-1], bulk_modulus(tensor), shear_modulus(tensor)
    return (d * bulk - 2 * shear) / (d * (d - 1) * bulk + 2 * shear)


def youngs_modulus(tensor: Array) -> Array:
    """E of the isotropic solid with B and G: 4BG/(B + G) in the plane, 9BG/(3B + G) in space."""
    d, bulk, shear = tensor.shape[-1], bulk_modulus(tensor), shear_modulus(tensor)
    return 2 * d**2 * bulk * shear / (d * (d - 1) * bulk + 2 * shear)


def elastic_constants(tensor: Array) -> Array:
    """The independent components of C, (6,) in two dimensions, (21,) in three.

    The upper triangle, by rows, of the matrix over xx, yy, (zz, yz, xz,) xy.
    """
    d = tensor.shape[-1]
    pairs = [(a, a) for a in range(d)] + ([(0, 1)] if d == 2 else [(1, 2), (0, 2), (0, 1)])
    i, j = (np.array(axes) for axes in zip(*pairs, strict=True))
    a, b = np.triu_indices(len(pairs))
    return tensor[i[a], j[a], i[b], j[b]]


def shear_moduli(tensor: Array) -> Array:
    """For each pair of axes (C_iiii + C_jjjj - 2 C_iijj)/4, then for each C_ijij, (d(d - 1),).

    In two dimensions the pure and the simple shear modulus, which are one where C is isotropic.
    """
    i, j = np.triu_indices(tensor.shape[-1], 1)
    pure = (tensor[i, i, i, i] + tensor[j, j, j, j] - 2 * tensor[i, i, j, j]) / 4
    return jnp.concatenate([pure, tensor[i, j, i, j]])


def _mandel(dimension: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The axes of each strain, and by what it is to be divided to have unit norm, (n_strains,)."""
    i, j = np.nonzero(strain_basis(dimension) * np.triu(np.ones((dimension, dimension))))[1:]
    return i, j, np.where(i == j, 1.0, np.sqrt(0.5))


def _as_matrix(tensor: Array) -> Array:
    # Strains of unit norm, so that eigenvalues do not depend on the axes (Mandel's form).
    i, j, norm = _mandel(tensor.shape[-1])
    return tensor[i[:, None], j[:, None], i, j] / np.outer(norm, norm)


def lowest_modulus(tensor: Array) -> Array:
    """The smallest eigenvalue of C as a map from symmetric strains to stresses.

    The box is held, so nothing keeps it positive: where it is negative, a packing at rest would
    shear its box if it were let.
    """
    return jnp.linalg.eigvalsh(_as_matrix(tensor))[0]


def compliance(tensor: Array) -> Array:
    """S_ijkl, the inverse of C as a map from symmetric strains to stresses, (d, d, d, d)."""
    d = tensor.shape[-1]
    matrix, norm = _as_matrix(tensor), _mandel(d)[2]
    inverse = _inverse(matrix) if d == 2 else jnp.linalg.inv(matrix)
    index = strain_index(d)
    return (inverse * np.outer(norm, norm))[index[:, :, None, None], index]


def _inverse(matrix: Array) -> Array:
    """The inverse (3, 3): of thousands at once many times as fast as by a library."""
    a, b = np.array([1, 2, 0]), np.array([2, 0, 1])
    down, across = a[:, None], b[:, None]
    cofactors = matrix[down, a] * matrix[across, b] - matrix[down, b] * matrix[across, a]
    return cofactors.T / jnp.sum(matrix[0] * cofactors[0])


def youngs_moduli(tensor: Array) -> Array:
    """1/S_xxxx and the like, (d,): the moduli for uniaxial stress along each axis."""
    axes = jnp.arange(tensor.shape[-1])
    return 1.0 / compliance(tensor)[axes, axes, axes, axes]


def poisson_ratios(tensor: Array) -> Array:
    """-S_iijj/S_iiii for each two axes, (d(d - 1),): how much j shrinks where i is stretched.

    In two dimensions ν_x, then ν_y; in three xy, xz, yx, yz, zx, zy.
    """
    d = tensor.shape[-1]
    inverse = compliance(tensor)
    i, j = np.nonzero(~np.eye(d, dtype=bool))
    return -inverse[i, i, j, j] / inverse[i, i, i, i]


def anisotropy(tensor: Array) -> Array:
    """The universal elastic anisotropy index, K_V/K_R + (n - 1) G_V/G_R - n, 0 if isotropic.

    n = d(d + 1)/2; V and R are the averages of C and of its inverse. Source: Ranganathan and
    Ostoja-Starzewski, Phys. Rev. Lett. 101, 055504 (2008), eq. 6, here for either dimension.
    """
    d, inverse = tensor.shape[-1], compliance(tensor)
    n = d * (d + 1) // 2
    i, j = _axes(tensor)
    trace = jnp.sum(inverse[i, i, j, j])
    soft = 2 * (jnp.sum(inverse[i, j, i, j]) - trace / d) / (n - 1)
    return bulk_modulus(tensor) * trace + (n - 1) * shear_modulus(tensor) * soft - n
