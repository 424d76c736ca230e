"""Training a surrogate, and what it is then: it predicts, is saved and loaded, and is a feature."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as checkpoint
from flax import nnx
from numpy.typing import NDArray

from amorph.handover import InputError, OutputExistsError
from amorph.handover.arguments import check_choice, count, positive

from ..features.registry import Feature
from ..matter.mechanics import State, interactions
from ..networks.building import Network
from .data import Examples
from .inputs import batched, dynamical_matrix, graph, picture
from .models import AlexNet, GraphNet, ResidualNet

__all__ = ["History", "Surrogate", "train"]

# The kinds, and what each may be told.
_KNOWN: dict[str, dict[str, Any]] = {
    "matrix": {"width": 0.25},
    "picture": {"channels": 16, "pixels": 96},
    "graph": {"channels": 32},
}
FORMAT = 1  # of what is saved
_SAVED = ("kind", "options", "centre", "scale", "low", "high")
SMALLEST = 34  # nodes whose matrix is large enough for AlexNet's poolings
MOST_KEPT = 2 * 2**30  # bytes of what a model sees, kept while it learns


@dataclass(frozen=True, eq=False)
class History:
    """How a training went.

    Attributes: learned, validated (n_epochs,), the root mean square errors; seconds; best, the
    epoch whose parameters were kept.
    """

    learned: NDArray[np.float64]
    validated: NDArray[np.float64]
    seconds: float
    best: int


@dataclass(eq=False)
class Surrogate:
    """A model of a network's Poisson's ratio.

    Attributes
    ----------
    kind:
        What it sees: ``matrix`` (AlexNet), ``picture`` (a residual network) or ``graph``.
    options:
        By which the model is made: sizes, widths.
    model:
        The model, an `nnx.Module`.
    centre, scale:
        Of the labels: the model's number times scale plus centre is ν.
    low, high:
        The labels that it has learned from lie between these.
    """

    kind: str
    options: dict[str, Any]
    model: Any
    centre: float
    scale: float
    low: float
    high: float
    _compiled: Any = field(default=None, repr=False)

    def predict(self, networks: Sequence[Network], *, batch: int = 64) -> NDArray[np.float64]:
        """ν of networks (n,), all as large as those that it has learned from.

        Raises `InputError` for networks of another size.
        """
        count("batch", batch)
        out = []
        for first in range(0, len(networks), batch):
            part = list(networks[first : first + batch])
            full = part + part[:1] * (batch - len(part))  # one shape: compiled once
            found = np.asarray(self._predicted(self.seen(full)))[: len(part)]
            out.append(found.astype(np.float64) * self.scale + self.centre)
        return np.concatenate(out) if out else np.zeros(0)

    def _predicted(self, inputs: Any) -> Any:
        if self._compiled is None:
            self._compiled = nnx.jit(lambda model, x: model(x))
        return self._compiled(self.model, inputs)

    def seen(self, networks: Sequence[Network]) -> Any:
        """The model's inputs for some networks; raises `InputError` for those of another size."""
        return seen(self.kind, self.options, networks)

    def feature(self, name: str = "predicted_poisson_ratio") -> Feature:
        """The surrogate as a feature of springs, which JAX differentiates; it is not registered.

        Of the kinds ``graph`` and ``matrix``; raises `InputError` for pictures.
        """
        if self.kind == "picture":
            raise InputError("a picture has no derivative: only graphs and matrices are features.")

        def function(theta: Any, state: State) -> Any:
            (part,) = interactions(theta, state)
            stiffness = part.parameters["stiffness"].astype(jnp.float32)
            vector = part.vector.astype(jnp.float32)
            shape = state.positions.shape
            if self.kind == "graph":
                found = self.model.one(part.i, part.j, vector, stiffness, shape[0])
            else:
                matrix = _matrix_of(part.i, part.j, vector, stiffness, shape)
                found = self.model(matrix[None])[0]
            return found.astype(jnp.float64) * self.scale + self.centre

        return Feature(
            name,
            function,
            stationary=True,
            listed=False,
            describe="Poisson's ratio ν, predicted",
            symbol="ν",
            units="1",
            source="a surrogate",
        )

    def save(self, directory: str | PathLike[str]) -> None:
        """Save it in a directory, which must not be there; raises `OutputExistsError` if it is."""
        path = Path(directory).absolute()
        if path.exists():
            raise OutputExistsError(f"{path}: exists already, and is kept. Choose another name.")
        told = {
            "format": FORMAT,
            **{k: getattr(self, k) for k in _SAVED},
        }
        partial = path.with_name(f".{path.name}.partial")
        with checkpoint.StandardCheckpointer() as saver:
            saver.save(partial / "parameters", nnx.state(self.model, nnx.Param), force=True)
        (partial / "surrogate.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
        partial.rename(path)

    @classmethod
    def load(cls, directory: str | PathLike[str]) -> "Surrogate":
        """One that was saved; raises `InputError` for a directory that holds none."""
        path = Path(directory).absolute()
        try:
            told = json.loads((path / "surrogate.json").read_text(encoding="utf-8"))
            if told.pop("format") != FORMAT or set(told) != set(_SAVED):
                raise KeyError("format")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: holds no surrogate that can be read: {error!r}.") from error
        model = made(told["kind"], told["options"], 0)
        with checkpoint.StandardCheckpointer() as saver:
            state = saver.restore(path / "parameters", nnx.state(model, nnx.Param))
        nnx.update(model, state)
        return cls(model=model, **told)


def seen(kind: str, options: dict[str, Any], networks: Sequence[Network]) -> Any:
    """A kind of model's inputs for networks of one size, as its call takes them."""
    for _, packing in networks:
        if (packing.n_particles, len(np.asarray(packing.bonds))) != tuple(options["size"]):
            raise InputError(
                f"a network of {packing.n_particles} nodes and {len(np.asarray(packing.bonds))} "
                f"bonds: this surrogate is of {options['size'][0]} and {options['size'][1]}."
            )
    if kind == "matrix":
        return jnp.asarray(np.stack([dynamical_matrix(*network) for network in networks]))
    if kind == "picture":
        return jnp.asarray(np.stack([picture(*n, pixels=options["pixels"]) for n in networks]))
    return batched([graph(*network) for network in networks])


def made(kind: str, options: dict[str, Any], seed: int) -> Any:
    """A new model of a kind."""
    rngs = nnx.Rngs(seed)
    if kind == "matrix":
        return AlexNet(2 * options["size"][0], width=options["width"], rngs=rngs)
    if kind == "picture":
        return ResidualNet(channels=options["channels"], rngs=rngs)
    return GraphNet(channels=options["channels"], rngs=rngs)


def train(
    kind: str,
    learned: Examples,
    validated: Examples,
    *,
    epochs: int = 40,
    batch: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Callable[[int, float, float], None] | None = None,
    **options: Any,
) -> tuple[Surrogate, History]:
    """A surrogate that has learned from examples; its best epoch by those to validate with is kept.

    Parameters
    ----------
    kind:
        ``matrix``: AlexNet on the dynamical matrix; ``picture``: a residual network on a picture of
        the bonds; ``graph``: messages along bonds, equal under relabelling and rotation.
    learned, validated:
        As `split` gives them, of networks of one size.
    epochs, batch, learning_rate, seed:
        Of Adam, its learning rate falling to nothing as a cosine.
    progress:
        Called with the epoch and both root mean square errors.
    options:
        ``width`` of an AlexNet (0.25), ``channels`` of the others (16; 32), ``pixels`` (96).

    Raises `InputError` for kinds and numbers that there are not, and networks of several sizes.

    Example
    -------
    >>> learned, validated, tested = surrogates.split(surrogates.examples(2000))
    >>> surrogate, history = surrogates.train("graph", learned, validated)
    >>> surrogate.predict(tested.networks)
    """
    check_choice("kind", kind, tuple(_KNOWN))
    count("epochs", epochs)
    count("batch", batch)
    positive("learning_rate", learning_rate)
    own = _options(kind, learned, options)
    if not len(validated):
        raise InputError("validated: there are no examples to validate with.")
    model = made(kind, own, seed)
    centre, scale = float(learned.labels.mean()), float(learned.labels.std()) or 1.0
    target = ((learned.labels - centre) / scale).astype(np.float32)
    steps = epochs * -(-len(learned) // batch)
    rate = optax.cosine_decay_schedule(learning_rate, steps)
    optimizer = nnx.Optimizer(model, optax.adam(rate), wrt=nnx.Param)

    @nnx.jit
    def step(model: Any, optimizer: Any, inputs: Any, labels: Any) -> Any:
        def loss(model: Any) -> Any:
            return jnp.mean((model(inputs) - labels) ** 2)

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    surrogate = Surrogate(
        kind, own, model, centre, scale, float(learned.labels.min()), float(learned.labels.max())
    )
    rng = np.random.default_rng(seed)
    inputs_of = _kept(surrogate, learned.networks)
    errors: list[tuple[float, float]] = []
    best, kept = 0, nnx.state(model, nnx.Param)
    began = time.perf_counter()
    for epoch in range(epochs):
        order = rng.permutation(len(learned))
        order = np.resize(order, -(-len(order) // batch) * batch)  # whole batches alone
        total = 0.0
        for first in range(0, len(order), batch):
            chosen = order[first : first + batch]
            inputs = inputs_of(chosen)
            total += float(step(model, optimizer, inputs, jnp.asarray(target[chosen]))) * batch
        off = surrogate.predict(validated.networks) - validated.labels
        errors.append((scale * (total / len(order)) ** 0.5, float(np.sqrt(np.mean(off**2)))))
        if errors[-1][1] <= errors[best][1]:
            best = epoch
            kept = jax.tree.map(jnp.copy, nnx.state(model, nnx.Param))
        if progress is not None:
            progress(epoch, *errors[-1])
    nnx.update(model, kept)
    both = np.array(errors)
    return surrogate, History(both[:, 0], both[:, 1], time.perf_counter() - began, best)


def _kept(surrogate: Surrogate, networks: Sequence[Network]) -> Callable[[NDArray[np.int64]], Any]:
    """The model's inputs, by the networks' numbers: made once if there is room, else when asked."""
    one = jax.tree.leaves(surrogate.seen(networks[:1]))
    if sum(x.nbytes for x in one) * len(networks) > MOST_KEPT:
        return lambda chosen: surrogate.seen([networks[k] for k in chosen.tolist()])
    parts = [surrogate.seen(networks[k : k + 64]) for k in range(0, len(networks), 64)]
    whole = jax.tree.map(lambda *x: np.concatenate([np.asarray(y) for y in x]), *parts)
    return lambda chosen: jax.tree.map(lambda x: jnp.asarray(x[chosen]), whole)


def _options(kind: str, learned: Examples, given: dict[str, Any]) -> dict[str, Any]:
    if not len(learned):
        raise InputError("learned: there are no examples to learn from.")
    known = _KNOWN[kind]
    for name in given:
        if name not in known:
            raise InputError(
                f"{name} is no option of kind = {kind!r}: there are {', '.join(known)}."
            )
    for name, value in given.items():
        positive(name, value)
    for name, least, step in (("channels", 8, 8 if kind == "picture" else 1), ("pixels", 16, 1)):
        if name in given and (count(name, given[name], least=least) % step):
            raise InputError(f"{name} = {given[name]}: it must be a multiple of {step}.")
    packing = learned.networks[0][1]
    if kind == "matrix" and packing.n_particles < SMALLEST:
        raise InputError(f"networks of {packing.n_particles} nodes: AlexNet needs {SMALLEST}.")
    size = [packing.n_particles, len(np.asarray(packing.bonds))]
    return {"size": size, **known, **given}


def _matrix_of(i: Any, j: Any, vector: Any, stiffness: Any, shape: tuple[int, ...]) -> Any:
    """The dynamical matrix of unstretched springs, as `dynamical_matrix`, traced."""
    n, d = shape
    # Lists may have places past the last bond, with no length.
    square = jnp.where(stiffness > 0, jnp.sum(vector**2, axis=1), 1.0)
    unit = vector / jnp.sqrt(square)[:, None]
    block = stiffness[:, None, None] * unit[:, :, None] * unit[:, None, :]
    out = jnp.zeros((n, n, d, d), dtype=jnp.float32)
    for a, b, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
        out = out.at[a, b].add(sign * block)
    return out.transpose(0, 2, 1, 3).reshape(n * d, n * d)
