"""What models see, what they are blind to, learning, saving, and the surrogate as a feature."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amorph import bridge
from amorph.bridge import networks
from amorph.handover import InputError, OutputExistsError

nnx = pytest.importorskip("flax.nnx", reason="amorph[surrogate] is not installed")

from amorph.bridge import surrogates  # noqa: E402
from amorph.bridge.surrogates import baselines, models, training  # noqa: E402
from amorph.bridge.surrogates.inputs import batched, graph  # noqa: E402


def lattice(seed: int = 1, **more: Any) -> Any:
    return networks.triangular_network((6, 6), seed=seed, **more)


@pytest.fixture(scope="module")
def found() -> surrogates.Examples:
    return surrogates.examples(120, (6, 6), distortion=(0.05, 0.6), seed=3)


def test_examples_are_what_they_say(found: surrogates.Examples) -> None:
    """Labels as the bridge measures them; parts of 6 : 2 : 2 without overlap."""
    for k in (0, 60, 119):
        assert found.labels[k] == pytest.approx(bridge.poisson_ratio(*found.networks[k]), rel=1e-9)
    assert found.labels.max() - found.labels.min() > 0.3
    parts = surrogates.split(found)
    assert [len(p) for p in parts] == [72, 24, 24]
    seen = np.concatenate([p.labels for p in parts])
    assert np.array_equal(np.sort(seen), np.sort(found.labels))
    again = surrogates.examples(120, (6, 6), distortion=(0.05, 0.6), seed=3)
    assert np.array_equal(again.labels, found.labels)
    with pytest.raises(InputError, match="sum to 1"):
        surrogates.split(found, (0.5, 0.2, 0.2))


def test_the_dynamical_matrix() -> None:
    springs, packing = lattice()
    right = bridge.hessian(springs, packing)
    dense = np.asarray(right.todense() if hasattr(right, "todense") else right)
    dense = dense.reshape(72, 72)
    assert np.abs(surrogates.dynamical_matrix(springs, packing) - dense).max() < 1e-6


def test_a_picture_has_the_bonds() -> None:
    """Middles of bonds are drawn, across the edges too; what was cut is not."""
    springs, packing = lattice(distortion=0.1)
    drawn = surrogates.picture(springs, packing, 64)
    vector = np.asarray(packing.positions)[packing.bonds]
    box = np.asarray(packing.box)
    apart = vector[:, 1] - vector[:, 0]
    apart -= np.round(apart @ np.linalg.inv(box).T) @ box.T
    middle = (vector[:, 0] + 0.5 * apart) @ np.linalg.inv(box).T
    x, y = np.floor((middle % 1.0) * 64).astype(int).T % 64
    around = [np.roll(np.roll(drawn, a, 0), b, 1) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    assert np.max([d[y, x] for d in around], axis=0).min() == 1
    assert 0.1 < drawn.mean() < 0.6
    k = np.asarray(springs.stiffness).copy()
    k[:] = 0.0
    k[7] = 1.0
    alone = surrogates.picture(springs.replace(stiffness=k), packing, 64)
    assert 5 < alone.sum() < 40
    with pytest.raises(InputError, match="periodic network in the plane"):
        surrogates.picture(*networks.triangular_network((6, 6), open_edges=True))


def changed(network: Any, how: str) -> Any:
    """The same network, told otherwise."""
    springs, packing = network
    x, box = np.asarray(packing.positions), np.asarray(packing.box)
    bonds, k = np.asarray(packing.bonds), np.asarray(springs.stiffness)
    rng = np.random.default_rng(0)
    if how == "relabelled":
        order = rng.permutation(len(x))
        where = np.argsort(order)
        mixed = rng.permutation(len(bonds))
        return networks.from_bonds(x[order], where[bonds][mixed], box, stiffness=k[mixed])
    if how == "moved":
        return networks.from_bonds(x + np.array([1.3, -0.4]), bonds, box, stiffness=k)
    if how == "turned":  # by a right angle: the box stays upright
        turn = np.array([[0.0, -1.0], [1.0, 0.0]])
        return networks.from_bonds(x @ turn.T, bonds, np.diag(np.diag(box)[::-1]), stiffness=k)
    if how == "mirrored":
        return networks.from_bonds(x * np.array([-1.0, 1.0]), bonds, box, stiffness=k)
    return networks.from_bonds(x, bonds[:, ::-1], box, stiffness=k)


@pytest.mark.parametrize("how", ["relabelled", "moved", "turned", "mirrored", "bonds turned"])
def test_messages_do_not_depend_on_how_it_is_told(how: str) -> None:
    springs, packing = lattice()
    k = np.random.default_rng(1).uniform(0.2, 1.0, springs.n_bonds)
    network = (springs.replace(stiffness=k), packing)
    model = models.GraphNet(rngs=nnx.Rngs(0))
    other = changed(network, how)
    values = model(batched([graph(*network), graph(*other), graph(*lattice(2))]))
    assert values[0] == pytest.approx(float(values[1]), abs=1e-5)
    assert abs(float(values[0] - values[2])) > 1e-3, "another network is told from it"


def test_bonds_that_were_cut_send_nothing() -> None:
    springs, packing = lattice()
    k = np.asarray(springs.stiffness).copy()
    k[[3, 50]] = 0.0
    model = models.GraphNet(rngs=nnx.Rngs(0))
    cut = (springs.replace(stiffness=k), packing)
    part = networks.without_cut(*cut)
    one, whole = model(batched([graph(*cut), graph(springs, packing)]))
    assert float(one) == pytest.approx(float(model(batched([graph(*part)]))[0]), abs=1e-6)
    assert abs(float(one - whole)) > 1e-5


@pytest.mark.parametrize("kind", ["graph", "picture", "matrix"])
def test_learning_saving_and_loading(kind: str, found: surrogates.Examples, tmp_path: Path) -> None:
    """Errors fall below the spread of the labels (of graphs; others need more); it is kept."""
    options: dict[str, Any] = {"graph": {"channels": 16}, "picture": {"pixels": 32}}.get(kind, {})
    learned, validated, tested = surrogates.split(found)
    seen: list[int] = []
    surrogate, history = surrogates.train(
        kind,
        learned,
        validated,
        epochs=8 if kind == "graph" else 2,
        batch=16,
        learning_rate=3e-3,
        progress=lambda epoch, own, other: seen.append(epoch),
        **options,
    )
    assert seen == list(range(len(history.learned)))
    assert history.best == int(np.argmin(history.validated))
    predicted = surrogate.predict(tested.networks)
    if kind == "graph":
        off = np.sqrt(np.mean((predicted - tested.labels) ** 2))
        assert off < 0.6 * tested.labels.std()
    assert surrogate.predict(tested.networks[:3], batch=2) == pytest.approx(predicted[:3], abs=1e-5)
    path = tmp_path / "kept"
    surrogate.save(path)
    again = surrogates.Surrogate.load(path)
    assert np.array_equal(again.predict(tested.networks), predicted)
    with pytest.raises(OutputExistsError, match="exists already"):
        surrogate.save(path)
    with pytest.raises(InputError, match="holds no surrogate"):
        surrogates.Surrogate.load(tmp_path)
    with pytest.raises(InputError, match="of 64 nodes and 192 bonds: this surrogate is of 36"):
        surrogate.predict([networks.triangular_network((8, 8))])


@pytest.mark.parametrize("kind", ["graph", "matrix"])
def test_as_a_feature(kind: str, found: surrogates.Examples) -> None:
    """It measures as it predicts, and its derivatives are those of a difference."""
    learned, validated, _ = surrogates.split(found)
    surrogate, _ = surrogates.train(kind, learned, validated, epochs=1, batch=36)
    feature = surrogate.feature()
    springs, packing = found.networks[5]
    value = bridge.measure(springs, packing, [feature]).values[feature.name]
    assert value == pytest.approx(surrogate.predict([(springs, packing)])[0], abs=1e-5)
    slopes = bridge.jacobian(springs, packing, [feature], "stiffness/bond").matrix[0]
    way = np.random.default_rng(2).standard_normal(springs.n_bonds)
    ends = [
        float(feature(springs.replace(stiffness=np.ones(108) + sign * 1e-2 * way), packing))
        for sign in (1, -1)
    ]
    assert slopes @ way == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=0.05, abs=1e-3)


def test_pictures_are_no_features() -> None:
    made = training.made("picture", {"channels": 16, "pixels": 32}, 0)
    surrogate = surrogates.Surrogate("picture", {"size": [36, 108]}, made, 0.0, 1.0, 0.0, 1.0)
    with pytest.raises(InputError, match="a picture has no derivative"):
        surrogate.feature()


def test_regression_on_modes(found: surrogates.Examples) -> None:
    """Most of the variance from examples alone; a network told otherwise has the same modes."""
    learned, _, tested = surrogates.split(found)
    regression = surrogates.ModeRegression.fitted(learned, n_modes=15)
    off = regression.predict(tested.networks) - tested.labels
    assert 1 - np.mean(off**2) / tested.labels.var() > 0.6
    network = lattice()
    here = regression.predict([network])
    assert regression.predict([changed(network, "relabelled")]) == pytest.approx(here, abs=1e-5)
    assert regression.predict([changed(network, "turned")]) == pytest.approx(here, abs=1e-5)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"kind": "text"}, "kind"),
        ({"epochs": 0}, "epochs = 0"),
        ({"width": 0.5}, "width is no option of kind = 'graph': there are channels"),
        ({"learning_rate": 0.0}, "learning_rate = 0"),
    ],
)
def test_bad_input_is_named(more: dict[str, Any], named: str, found: surrogates.Examples) -> None:
    given = {"kind": "graph", "learned": found, "validated": found, **more}
    with pytest.raises(InputError, match=named):
        surrogates.train(**given)


def test_modes_of_large_networks_by_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers by Lanczos as of the whole spectrum."""
    network = networks.triangular_network((14, 14), distortion=0.5, seed=3)
    whole = baselines.mode_numbers(network, 12)
    monkeypatch.setattr(baselines, "DENSE", 10)
    assert baselines.mode_numbers(network, 12) == pytest.approx(whole, abs=1e-12)
