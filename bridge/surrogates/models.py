"""Models that map a network, as one of its inputs, to a number."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

__all__ = ["AlexNet", "GraphNet", "ResidualNet"]


class AlexNet(nnx.Module):
    """Five convolutions with three poolings, and three dense layers, of a square of one channel.

    Source: Krizhevsky, Sutskever and Hinton (2012), as Zhu et al. (Fig. 5a) give it the dynamical
    matrix. ``width`` is by how much the layers are narrower than there: 1/4 learns on two cores.
    """

    def __init__(self, size: int, *, width: float = 0.25, rngs: nnx.Rngs) -> None:
        channels = [max(8, int(width * c)) for c in (96, 256, 384, 384, 256)]
        shapes = [(11, 4), (5, 1), (3, 1), (3, 1), (3, 1)]
        self.layers: Any = nnx.List()
        before = 1
        for (kernel, stride), after in zip(shapes, channels, strict=True):
            self.layers.append(
                nnx.Conv(before, after, (kernel, kernel), strides=(stride, stride), rngs=rngs)
            )
            before = after
        side = -(-size // 4)
        for _ in range(3):
            side = (side - 3) // 2 + 1
        hidden = max(64, int(width * 4096))
        self.dense = nnx.List(
            [
                nnx.Linear(side * side * before, hidden, rngs=rngs),
                nnx.Linear(hidden, hidden, rngs=rngs),
                nnx.Linear(hidden, 1, rngs=rngs),
            ]
        )

    def __call__(self, x: Array) -> Array:
        """Numbers (n,) of squares (n, size, size)."""
        x = x[..., None]
        for k, layer in enumerate(self.layers):
            x = jax.nn.relu(layer(x))
            if k in (0, 1, 4):
                x = nnx.max_pool(x, (3, 3), strides=(2, 2))
        x = x.reshape(len(x), -1)
        for layer in self.dense[:-1]:
            x = jax.nn.relu(layer(x))
        return self.dense[-1](x)[:, 0]


class ResidualNet(nnx.Module):
    """A residual network of a picture: blocks of two convolutions beside an identity.

    Source: He, Zhang, Ren and Sun (2016), whose ResNet-50 Zhu et al. give pictures; here of
    `blocks` blocks, each of which halves the picture. Pictures are periodic, and so are the
    convolutions.
    """

    def __init__(self, *, blocks: int = 4, channels: int = 16, rngs: nnx.Rngs) -> None:
        self.first = nnx.Conv(1, channels, (3, 3), padding="CIRCULAR", rngs=rngs)
        self.blocks: Any = nnx.List()
        before = channels
        for k in range(blocks):
            after = channels * 2 ** min(k, 3)
            self.blocks.append(
                nnx.List(
                    [
                        nnx.Conv(before, after, (3, 3), (2, 2), padding="CIRCULAR", rngs=rngs),
                        nnx.Conv(after, after, (3, 3), padding="CIRCULAR", rngs=rngs),
                        nnx.Conv(before, after, (1, 1), (2, 2), rngs=rngs),
                        nnx.GroupNorm(after, num_groups=8, rngs=rngs),
                        nnx.GroupNorm(after, num_groups=8, rngs=rngs),
                    ]
                )
            )
            before = after
        self.last = nnx.Linear(before, 1, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """Numbers (n,) of pictures (n, pixels, pixels)."""
        x = self.first(x[..., None])
        for down, same, beside, norm, again in self.blocks:
            inner = jax.nn.relu(norm(down(x)))
            x = jax.nn.relu(again(same(inner)) + beside(x))
        return self.last(jnp.mean(x, axis=(1, 2)))[:, 0]


class GraphNet(nnx.Module):
    """Messages along bonds: the same number for a network that is relabelled, turned or mirrored.

    Nodes have scalars and vectors. A message depends on the length and the stiffness of its bond,
    on the scalars at its other end, and has the bond's direction; scalars see the vectors by their
    products alone. Source: the construction of Schütt, Unke and Gastegger, "Equivariant message
    passing for the prediction of tensorial properties and molecular spectra" (PaiNN, 2021).
    """

    def __init__(self, *, layers: int = 4, channels: int = 32, rngs: nnx.Rngs) -> None:
        self.channels = channels
        self.start = nnx.Param(0.1 * jax.random.normal(rngs.params(), (channels,)))
        self.messages: Any = nnx.List()
        self.filters: Any = nnx.List()
        self.mixes: Any = nnx.List()
        self.updates: Any = nnx.List()
        for _ in range(layers):
            self.messages.append(_Perceptron(channels, 3 * channels, rngs))
            self.filters.append(nnx.Linear(N_RADIAL + 1, 3 * channels, rngs=rngs))
            self.mixes.append(nnx.Linear(channels, 2 * channels, use_bias=False, rngs=rngs))
            self.updates.append(_Perceptron(2 * channels, 3 * channels, rngs))
        self.read = _Perceptron(channels, 1, rngs)

    def __call__(self, inputs: dict[str, Array]) -> Array:
        """Numbers (n,) of a batch as `inputs.batched` makes it."""
        n_nodes = int(inputs["nodes"].shape[1])
        return jax.vmap(lambda i, j, v, k: self.one(i, j, v, k, n_nodes))(
            inputs["i"], inputs["j"], inputs["vector"], inputs["stiffness"]
        )

    def one(self, i: Array, j: Array, vector: Array, stiffness: Array, n_nodes: int) -> Array:
        """The number of one network."""
        # Each bond carries a message both ways; one that was cut carries none.
        ends = jnp.concatenate([i, j])
        sources = jnp.concatenate([j, i])
        along = jnp.concatenate([-vector, vector])
        k = jnp.concatenate([stiffness, stiffness])
        there = (k > 0)[:, None]
        # Lists may have places past the last bond, with no length.
        length = jnp.sqrt(jnp.where(there[:, 0], jnp.sum(along**2, axis=1), 1.0))
        unit = along / length[:, None]
        seen = jnp.concatenate([_radial(length), k[:, None]], axis=1)
        scalars = jnp.broadcast_to(self.start[...], (n_nodes, self.channels))
        vectors = jnp.zeros((n_nodes, vector.shape[1], self.channels))
        size = jnp.sum(there) / n_nodes
        for message, filtered, mix, update in zip(
            self.messages, self.filters, self.mixes, self.updates, strict=True
        ):
            sent = jnp.where(there, message(scalars)[sources] * filtered(seen), 0.0) / size**0.5
            own, carried, new = jnp.split(sent, 3, axis=1)
            moved = vectors[sources] * carried[:, None] + unit[:, :, None] * new[:, None]
            scalars = scalars + jax.ops.segment_sum(own, ends, n_nodes)
            vectors = vectors + jax.ops.segment_sum(moved, ends, n_nodes)
            first, second = jnp.split(mix(vectors), 2, axis=2)
            norm = jnp.sqrt(jnp.sum(first**2, axis=1) + 1e-8)
            a, b, c = jnp.split(update(jnp.concatenate([scalars, norm], axis=1)), 3, axis=1)
            scalars = scalars + a + b * jnp.sum(first * second, axis=1)
            vectors = vectors + second * c[:, None]
        return jnp.mean(self.read(scalars)[:, 0])


class _Perceptron(nnx.Module):
    """Two dense layers with a smooth step between them."""

    def __init__(self, before: int, after: int, rngs: nnx.Rngs) -> None:
        hidden = max(before, 16)
        self.inner = nnx.Linear(before, hidden, rngs=rngs)
        self.outer = nnx.Linear(hidden, after, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.outer(jax.nn.silu(self.inner(x)))


# Lengths are seen through so many bumps, between 0 and the longest that lattices have.
N_RADIAL, LONGEST = 12, 3.0


def _radial(length: Array) -> Array:
    centres = jnp.linspace(0.0, LONGEST, N_RADIAL)
    return jnp.exp(-(((length[:, None] - centres) * N_RADIAL / LONGEST) ** 2))
