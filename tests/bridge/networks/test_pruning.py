"""Pruning: choices against fresh solutions, constraints at every step, Metropolis's rule."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from amorph import bridge
from amorph.bridge import networks
from amorph.bridge.errors import FeatureError, SingularHessianError
from amorph.bridge.networks import annealing, goals
from amorph.handover import InputError

from .conftest import KINDS


def with_cut(springs: Any, bonds: Any) -> Any:
    k = np.asarray(springs.stiffness).copy()
    k[bonds] = 0.0
    return springs.replace(stiffness=k)


def lattice(**more: Any) -> Any:
    return networks.triangular_network((6, 6), seed=1, **more)


GOALS: dict[str, Any] = {
    "nu": {"poisson_ratio": -0.9},
    "moduli": {"bulk_modulus": 0.1, "shear_modulus": 0.3},
    "components": {"elastic_constants[0]": 0.8, "elastic_constants[3]": 0.4},
    "arithmetic": {"bulk_modulus / shear_modulus": 0.2},
}


@pytest.mark.parametrize("kind", ["triangular", "space"])
@pytest.mark.parametrize("wanted", GOALS)
def test_what_changes_would_bring(kind: str, wanted: str) -> None:
    """Values and distances of single cuts and returns are those of fresh measurements."""
    if kind == "space" and wanted == "components":
        pytest.skip("the same of other components")
    springs, packing = lattice() if kind == "triangular" else KINDS["space"]()
    goal = GOALS[wanted]
    pruning = networks.Pruning(springs, packing, goal)
    for bond in pruning.may_be_cut()[::20][:3]:
        pruning.toggle(int(bond))
    now = np.flatnonzero(~pruning.alive)
    bonds = np.concatenate([pruning.may_be_cut()[:6], now[:2]])
    changes = pruning.try_toggles(bonds)
    for k, bond in enumerate(bonds):
        cut = np.setxor1d(now, [bond])
        found = bridge.measure(with_cut(springs, cut), packing, list(goal)).values
        right = np.array([found[name] for name in goal])
        assert changes.values[k] == pytest.approx(right, rel=1e-9)
        away = np.linalg.norm(right - np.array(list(goal.values())))
        assert changes.distance[k] == pytest.approx(away, rel=1e-9)
    pruning.toggle(int(bonds[0]))
    assert pruning.values == pytest.approx(changes.values[0], rel=1e-9)
    assert pruning.distance == pytest.approx(changes.distance[0], rel=1e-9)


def test_units_weigh_goals() -> None:
    goal = {"bulk_modulus": 0.1, "poisson_ratio": -0.5}
    pruning = networks.Pruning(*lattice(), goal, units={"bulk_modulus": 0.01})
    off = (pruning.values - [0.1, -0.5]) / [0.01, 1.0]
    assert pruning.distance == pytest.approx(np.linalg.norm(off), rel=1e-12)


def test_greedy_takes_the_best() -> None:
    """Beside trying every bond anew at every step, by the bridge."""
    springs, packing = networks.triangular_network((4, 6), seed=3)
    goal = {"poisson_ratio": -0.5}
    pruned = networks.prune_greedily(networks.Pruning(springs, packing, goal), most=4)
    assert pruned.status == "stopped"
    cut: list[int] = []
    trials = 0
    for step in range(4):
        number = np.bincount(np.delete(packing.bonds, cut, axis=0).ravel(), minlength=24)
        tried = {}
        for bond in set(range(springs.n_bonds)) - set(cut):
            if (number[packing.bonds[bond]] > 3).all():
                tried[bond] = bridge.poisson_ratio(with_cut(springs, [*cut, bond]), packing)
        trials += len(tried)
        best = min(tried, key=lambda b: abs(tried[b] + 0.5))
        assert pruned.bonds[step] == best
        assert pruned.trace[step + 1, 0] == pytest.approx(tried[best], rel=1e-9)
        cut.append(best)
    assert pruned.trials == trials


@pytest.mark.parametrize("target", [-0.9, 0.9])
@pytest.mark.parametrize("method", ["greedy", "annealing", "gradient"])
def test_far_goals_within_constraints(target: float, method: str) -> None:
    """ν = ±0.9, no node concave, isotropic, three bonds a node; as the bridge measures it."""
    springs, packing = networks.triangular_network((10, 10), distortion=0.2, seed=2)
    held = networks.Constraints(convex=True, limits=networks.ISOTROPIC)
    pruning = networks.Pruning(springs, packing, {"poisson_ratio": target}, constraints=held)
    run = {
        "greedy": networks.prune_greedily,
        "annealing": networks.anneal,
        "gradient": networks.prune_by_gradient,
    }[method]
    pruned = run(pruning, tolerance=0.01)
    assert pruned.status == "reached"
    found = bridge.measure(
        *pruned.network, ["poisson_ratio", "poisson_ratios", "shear_moduli", "lowest_modulus"]
    ).values
    assert found["poisson_ratio"] == pytest.approx(target, abs=0.01)
    assert pruned.values[0] == pytest.approx(found["poisson_ratio"], rel=1e-9)
    assert abs(np.subtract(*found["poisson_ratios"])) < 0.1
    assert 1 / 1.5 < np.divide(*found["shear_moduli"]) < 1.5
    assert found["lowest_modulus"] > 0
    left = networks.without_cut(*pruned.network)[1]
    assert len(networks.concave_nodes(left)) == 0
    assert np.bincount(np.asarray(left.bonds).ravel()).min() >= 3
    assert pruned.drift < 1e-10
    assert pruned.n_cut == springs.n_bonds - len(left.bonds) > 10


def test_limits_are_kept_at_every_step() -> None:
    """What starts inside stays inside; what starts outside only comes nearer."""
    springs, packing = lattice()
    low = bridge.shear_modulus(springs, packing) * 0.8
    limits = {"shear_modulus": (low, np.inf), "poisson_ratios[0]": (-2.0, -0.1)}
    held = networks.Constraints(limits=limits)
    pruning = networks.Pruning(springs, packing, {"poisson_ratio": -0.5}, constraints=held)
    pruned = networks.prune_greedily(pruning)
    assert pruned.status in ("no gain", "reached")
    cut: list[int] = []
    beyond = np.inf
    for bond in pruned.bonds:
        cut.append(int(bond))
        names = ["shear_modulus", "poisson_ratios"]
        found = bridge.measure(with_cut(springs, cut), packing, names).values
        assert found["shear_modulus"] >= low
        now = max(found["poisson_ratios"][0] + 0.1, 0)
        assert now <= beyond
        beyond = now
    assert len(cut) > 3


def test_annealing_is_one_proposal_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at many proposals together changes nothing: the same moves as one by one."""
    found = []
    for together in ((16, 1024), (1, 1), (5, 7)):
        monkeypatch.setattr(annealing, "FEWEST", together[0])
        monkeypatch.setattr(annealing, "MOST", together[1])
        pruning = networks.Pruning(*lattice(), {"poisson_ratio": -0.7})
        found.append(networks.anneal(pruning, seed=4, most_trials=300, tolerance=1e-9))
    for other in found[1:]:
        assert np.array_equal(other.bonds, found[0].bonds)
        assert other.trials == found[0].trials == 300
        assert np.array_equal(other.trace, found[0].trace)
    assert len(found[0].bonds) > 30
    assert len(np.unique(found[0].bonds)) < len(found[0].bonds), "some returned"
    others = networks.anneal(
        networks.Pruning(*lattice(), {"poisson_ratio": -0.7}), seed=5, most_trials=300
    )
    assert not np.array_equal(others.bonds[:5], found[0].bonds[:5])


def test_metropolis() -> None:
    """Better networks are always taken, worse ones as often as exp(-Δ/T) says."""
    temperature = 0.02
    seen: list[tuple[float, bool]] = []
    for seed in range(40):
        pruning = networks.Pruning(*lattice(), {"poisson_ratio": -0.9})
        rng = np.random.default_rng(seed)
        bond = int(rng.integers(pruning.n_bonds, size=1, dtype=np.int32)[0])
        change = pruning.try_toggles([bond]).distance[0] - pruning.distance
        run = networks.anneal(
            pruning, temperature=temperature, coldest=temperature * 0.99, chain=1, seed=seed
        )
        seen.append((change, len(run.bonds) > 0))  # and back, if it was worse
    change, taken = np.array([s[0] for s in seen]), np.array([s[1] for s in seen])
    assert taken[change <= 0].all()
    assert not taken[~np.isfinite(change)].any()
    worse = np.isfinite(change) & (change > 0)
    wanted = np.exp(-change[worse] / temperature)
    spread = np.sqrt((wanted * (1 - wanted)).sum())
    assert abs(taken[worse].sum() - wanted.sum()) < 3 * spread + 1e-9
    assert worse.sum() > 3


def test_slopes_by_stiffness() -> None:
    """What is left and of limits that are exceeded, against central differences."""
    springs, packing = lattice()
    pruning = networks.Pruning(
        springs,
        packing,
        {"poisson_ratio": -0.9, "bulk_modulus": 0.1},
        units={"bulk_modulus": 0.3},
        constraints=networks.Constraints(
            limits={"shear_modulus": (0.6, 1.0), "poisson_ratios[0]": (0.0, 1.0)}
        ),
    )
    left, slopes = pruning.slopes()
    assert len(left) == 3, "two goals, one limit that is exceeded"
    rng = np.random.default_rng(0)
    k = rng.uniform(0.5, 1.0, springs.n_bonds)
    pruning.set_stiffness(k)
    left, slopes = pruning.slopes()
    way = rng.standard_normal(springs.n_bonds)
    ends = []
    for sign in (1, -1):
        pruning.set_stiffness(k + sign * 1e-5 * way)
        ends.append(pruning.slopes()[0])
    assert slopes @ way == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


def test_bonds_that_were_cut_may_return_in_greedy_pruning() -> None:
    """Towards what the network was before its bonds were cut."""
    goal = {"bulk_modulus": float(bridge.bulk_modulus(*lattice()))}
    pruning = networks.Pruning(*lattice(), goal)
    for bond in pruning.may_be_cut()[::25]:
        pruning.toggle(int(bond))
    assert pruning.n_cut == 5
    assert networks.prune_greedily(pruning).status == "no gain"
    pruned = networks.prune_greedily(pruning, tolerance=1e-9, returns=True)
    assert (pruned.status, pruned.n_cut, len(pruned.bonds)) == ("reached", 0, 5)


def test_the_best_on_the_way_comes_out() -> None:
    pruning = networks.Pruning(*lattice(), {"poisson_ratio": 0.95})
    pruned = networks.anneal(
        pruning, temperature=0.3, coldest=0.25, seed=2, most_trials=400, tolerance=1e-6
    )
    away = np.abs(pruned.trace[:, 0] - 0.95)
    assert away.argmin() < len(away) - 1
    assert away[-1] == pytest.approx(away.min(), rel=1e-9)
    measured = bridge.poisson_ratio(*pruned.network)
    assert measured == pytest.approx(pruned.values[0], rel=1e-9)
    there = np.bincount(pruned.bonds, minlength=pruning.n_bonds) % 2 == 0
    assert np.array_equal(there, pruning.alive), "the moves lead there"


def test_between_plates_both_ratios_are_tuned() -> None:
    springs, packing = networks.triangular_network((10, 11), seed=1, open_edges=True)
    pruning = networks.Pruning(
        springs,
        packing,
        {"poisson_ratio": -0.6},
        constraints=networks.Constraints(
            limits={"poisson_ratios[0] - poisson_ratios[1]": (-0.2, 0.2)}
        ),
        loading=networks.plates(packing),
    )
    assert pruning.values[0] > 0.1
    pruned = networks.prune_greedily(pruning, tolerance=0.01)
    assert pruned.status == "reached"
    own = networks.plates(packing)
    ratios = [
        networks.NetworkResponse(*pruned.network, load).response[0, 1] for load in own.loads[:2]
    ]
    assert np.mean(ratios) == pytest.approx(-0.6, abs=0.01)
    assert abs(np.subtract(*ratios)) <= 0.2
    with pytest.raises(FeatureError, match=r"'bulk_modulus' cannot be had .* There are: poisson"):
        networks.Pruning(springs, packing, {"bulk_modulus": 1.0}, loading=own)


def test_a_strain_far_from_where_it_is_applied() -> None:
    """Pair 1 answers pair 0 with the strain wanted, by a fresh response."""
    springs, packing = networks.triangular_network((10, 10), seed=4)
    pairs = [packing.bonds[5], packing.bonds[120]]
    pruning = networks.Pruning(
        springs,
        packing,
        {"pair_strains[1, 0]": 0.5},
        loading=networks.periodic(packing, pairs),
    )
    assert abs(pruning.values[0]) < 0.1
    pruned = networks.prune_greedily(pruning, tolerance=0.02)
    assert pruned.status == "reached"
    fresh = networks.NetworkResponse(*pruned.network, networks.periodic(packing, pairs).loads[0])
    y = fresh.response
    assert y[4, 3] / y[3, 3] == pytest.approx(0.5, abs=0.02)


@given(
    lowest=st.floats(-14, -1),
    n=st.sampled_from([3, 6]),
    seed=st.integers(0, 2**31),
)
def test_positive_definite_is_by_the_lowest_eigenvalue(lowest: float, n: int, seed: int) -> None:
    """However the eigenvector lies: a pivot alone may be far above the eigenvalue."""
    assume(abs(lowest + 9) > 0.6)  # the largest diagonal element is not the largest eigenvalue
    rng = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(rng.normal(size=(n, n)) * 10.0 ** rng.uniform(-4, 0, n))
    values = np.concatenate([[10.0**lowest], rng.uniform(0.5, 1.0, n - 1)])
    firm = goals._positive_definite(jnp.asarray((turned * values) @ turned.T))
    assert bool(firm) == (lowest > -9)


@pytest.mark.parametrize("seed", [1, 3])
def test_a_network_stays_firm(seed: int) -> None:
    """Where a cut would leave a strain of the box without cost, it is refused when it is tried."""
    springs, packing = networks.triangular_network((8, 8), seed=seed, distortion=0.3)
    rng = np.random.default_rng(seed)
    pairs = packing.bonds[rng.choice(len(packing.bonds), 9, replace=False)]
    pruning = networks.Pruning(
        springs,
        packing,
        {f"pair_strains[{k}, 0]": float(rng.choice([-1, 1])) for k in range(1, 9)},
        loading=networks.periodic(packing, pairs),
        constraints=networks.Constraints(least_bonds=2),
    )
    pruned = networks.prune_greedily(pruning)
    assert pruned.status == "no gain"
    tensor = networks.NetworkResponse(*pruned.network).response
    assert np.linalg.eigvalsh(tensor)[0] > goals.LEAST_EIGENVALUE * tensor.diagonal().max()


def test_a_network_that_turns_out_loose_on_the_way_ends_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a cut finds that those before were too many, what is firm is kept."""
    pruning = networks.Pruning(*lattice(), {"poisson_ratio": -0.9})
    toggle, done = pruning.toggle, []

    def third(bond: int, found: Any = None) -> None:
        if len(done) == 2:
            raise SingularHessianError("loose")
        done.append(bond)
        toggle(bond, found)

    monkeypatch.setattr(pruning, "toggle", third)
    pruned = networks.prune_greedily(pruning)
    assert pruned.status == "stopped"
    assert pruned.bonds.tolist() == done
    assert np.isfinite(pruned.values).all()


def test_what_turns_out_soft_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A last cut after which the exact elastic tensor is not positive definite is not kept."""
    pruning = networks.Pruning(*lattice(), {"poisson_ratio": -0.5})
    renew = pruning.renew

    def found_soft() -> float:
        drift = renew()
        pruning.distance = np.nan
        return drift

    monkeypatch.setattr(pruning, "renew", found_soft)
    pruned = networks.prune_greedily(pruning, most=5)
    assert (pruned.status, len(pruned.bonds), pruned.n_cut) == ("stopped", 4, 4)
    other = networks.Pruning(*lattice(), {"poisson_ratio": -0.5})
    assert pruned.bonds.tolist() == networks.prune_greedily(other, most=4).bonds.tolist()
    assert pruned.values == pytest.approx(other.values, rel=1e-12)


def test_reached_is_within_the_limits() -> None:
    """Goals that are met outside of limits are not reached, by no method; the best is inside."""
    springs, packing = networks.triangular_network((8, 8), seed=1, distortion=0.2)
    nu, bulk = bridge.poisson_ratio(springs, packing), bridge.bulk_modulus(springs, packing)
    never = networks.Constraints(limits={"bulk_modulus": (10 * bulk, np.inf)})
    for run in (networks.prune_greedily, networks.prune_by_gradient):
        far = networks.Pruning(springs, packing, {"poisson_ratio": nu}, constraints=never)
        assert far.distance < 1e-9
        found = run(far)
        assert found.status != "reached"
        assert found.exceeded > 1
    soft = networks.Constraints(limits={"bulk_modulus": (0.01 * bulk, 0.5 * bulk)})
    pruning = networks.Pruning(springs, packing, {"poisson_ratio": nu + 1e-3}, constraints=soft)
    assert pruning.exceeded > 0
    found = networks.anneal(pruning, most_trials=400, tolerance=1e-6, seed=1)
    assert found.exceeded == 0
    assert bridge.bulk_modulus(*found.network) <= 0.5 * bulk


def test_gradient_after_cuts() -> None:
    """What was cut before stays cut unless a move says that it returned."""
    springs, packing = networks.triangular_network((8, 8), seed=1, distortion=0.2)
    pruning = networks.Pruning(springs, packing, {"poisson_ratio": -0.5})
    networks.prune_greedily(pruning, most=6)
    there = pruning.alive
    assert (~there).sum() == 6
    found = networks.prune_by_gradient(pruning, most=60)
    moved = np.bincount(found.bonds, minlength=pruning.n_bonds) % 2 == 1
    assert np.array_equal(there ^ moved, pruning.alive)
    assert np.array_equal(pruning.shape.alive, pruning.alive)


def test_what_is_refused_changes_nothing() -> None:
    """After errors the network is as it was: responses, values and shape."""
    pruning = networks.Pruning(*lattice(), {"poisson_ratio": -0.5})
    pruning.toggle(3)
    before = pruning.responses[0].response.copy()
    few = np.zeros(pruning.n_bonds, dtype=bool)
    few[:4] = True
    with pytest.raises(SingularHessianError):
        pruning.go_to(few)
    with pytest.raises(SingularHessianError):
        pruning.set_stiffness(few.astype(float))
    response = pruning.responses[0]
    assert response.response == pytest.approx(before, rel=1e-12)
    assert pruning.alive.sum() == pruning.n_bonds - 1
    assert np.array_equal(pruning.shape.alive, pruning.alive)
    pruning.toggle(3)
    assert pruning.values[0] == pytest.approx(bridge.poisson_ratio(*lattice()), rel=1e-9)
    springs, packing = lattice()
    cut = networks.Pruning(with_cut(springs, [5]), packing, {"poisson_ratio": -0.5})
    with pytest.raises(InputError, match="bond 5 was cut from the first"):
        cut.go_to(np.ones(cut.n_bonds, dtype=bool))
    for wrong in ([500], [-1], [[1]], [1.5], ["a"], [2**32]):
        with pytest.raises(InputError):
            pruning.try_toggles(wrong)
        with pytest.raises(InputError):
            response.try_cuts(wrong)
    for wrong in (np.inf, np.nan, "a"):
        with pytest.raises(InputError):
            response.change(0, wrong)
        with pytest.raises(InputError):
            response.try_changes([0], [wrong])
    assert response.response == pytest.approx(pruning.responses[0].response)


def test_other_networks_are_told_apart() -> None:
    springs, packing = lattice()
    other = networks.triangular_network((6, 6), seed=9)[1]
    with pytest.raises(InputError, match="that of another network"):
        networks.Pruning(springs, packing, {"poisson_ratio": 0.1}, loading=networks.periodic(other))
    with pytest.raises(InputError, match="that of another network"):
        networks.NetworkResponse(
            springs, packing, networks.periodic(networks.triangular_network((8, 8))[1]).loads[0]
        )
    held = replace(packing, fixed=np.arange(36) < 3)
    with pytest.raises(InputError, match="3 nodes are fixed"):
        networks.Pruning(springs, held, {"poisson_ratio": 0.1})
    for pairs in ([[0, 1, 2]], [[0, 1, 2], [1, 2, 3]], [0, 1]):
        with pytest.raises(InputError, match="pairs have shape"):
            networks.periodic(packing, pairs)


def test_ends_are_named() -> None:
    springs, packing = lattice()
    held = networks.Constraints(least_bonds=6)
    tight = networks.Pruning(springs, packing, {"poisson_ratio": 0.9}, constraints=held)
    assert networks.prune_greedily(tight).status == "nothing to cut"
    far = networks.Pruning(springs, packing, {"shear_modulus": 5.0})
    assert networks.prune_greedily(far).status == "no gain"
    there = networks.Pruning(springs, packing, {"poisson_ratio": bridge.poisson_ratio(*lattice())})
    done = networks.anneal(there)
    assert (done.status, done.trials, len(done.bonds)) == ("reached", 0, 0)
    assert "reached" in repr(done)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"goals": {}}, "goals: there are none"),
        ({"goals": {"poisson": 1.0}}, "'poisson' cannot be had"),
        ({"goals": {"energy": 1.0}}, "'energy' cannot be had"),
        ({"goals": {"poisson_ratios": 1.0}}, r"not one number: .* poisson_ratios\[0\]"),
        ({"goals": {"poisson_ratio": "low"}}, "they must be numbers"),
        ({"goals": {"poisson_ratio": np.nan}}, "they must be numbers"),
        ({"units": {"bulk_modulus": 1.0}}, "'bulk_modulus' is no goal"),
        ({"constraints": 3}, "constraints is 3"),
        ({"loading": 3}, "loading is 3"),
    ],
)
def test_bad_input_is_named(more: dict[str, Any], named: str) -> None:
    given = {"goals": {"poisson_ratio": -0.5}, **more}
    with pytest.raises(InputError, match=named):
        networks.Pruning(*lattice(), **given)


def test_bad_numbers_are_named() -> None:
    with pytest.raises(InputError, match="left = 2"):
        networks.Constraints(left=2)
    pruning = networks.Pruning(*lattice(), {"poisson_ratio": -0.5})
    for wrong, named in (
        ({"tolerance": 0.0}, "tolerance = 0"),
        ({"cooling": 1.5}, "cooling = 1.5"),
        ({"temperature": -1.0}, "temperature = -1"),
        ({"chain": 0}, "chain = 0"),
    ):
        with pytest.raises(InputError, match=named):
            networks.anneal(pruning, **wrong)
    with pytest.raises(InputError, match="bond = 500"):
        pruning.toggle(500)
    with pytest.raises(InputError, match="a lowest value below"):
        networks.Pruning(
            *lattice(),
            {"poisson_ratio": -0.5},
            constraints=networks.Constraints(limits={"bulk_modulus": (1.0, 0.0)}),
        )
    assert goals.ISOTROPIC == networks.ISOTROPIC
