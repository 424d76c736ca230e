"""Wrong arguments, of every public function: a named error, before anything else is done.

The functions are those that the packages list; what an argument stands for follows from its name.
"""

import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from amorph import bridge, campaigns, ensemble, handover
from amorph.bridge.features.vibrations import Modes
from amorph.bridge.loading.deformation import deformation
from amorph.bridge.loading.strain_response import nonaffine_forces
from amorph.bridge.loading.stress_strain import velocity_gradient
from amorph.bridge.matter.files import frame_of
from amorph.bridge.matter.mechanics import state_of
from amorph.bridge.minima.following import next_crossing
from amorph.bridge.minima.relaxing import relaxation
from amorph.bridge.sensitivity.parameters import by_bond, by_particle, by_type
from amorph.campaigns.inputs import files as toml_files
from amorph.campaigns.inputs import formats
from amorph.campaigns.studies import files
from amorph.campaigns.studies.analyze import rows as analysis
from amorph.campaigns.studies.design import at_a_glance, history
from amorph.ensemble.quenching import Begin
from amorph.handover import AmorphError, Frame, InputError

THETA = bridge.HarmonicMorse(diameters=[0.8, 1.0], binding=0.1, stiffness=5.0, alpha=12.0)
BOX = np.diag([4.0, 4.0])
POSITIONS = np.array([[0.0, 0.0], [0.9, 0.0], [0.0, 0.9], [0.9, 0.9]])
TYPEID = np.array([0, 1, 0, 1], dtype=np.int32)
PACKING = bridge.Packing(POSITIONS, TYPEID, BOX)
FRAME = Frame(POSITIONS, TYPEID, ("A", "B"), BOX)

# What serves for an argument of each name, so that only the one tried is wrong.
GOOD: dict[str, Any] = {
    "packing": PACKING,
    "state": state_of(THETA, PACKING),
    "function": lambda pair: pair.distance,
    "new_packing": PACKING,
    "rattlers": np.zeros(4, dtype=bool),
    "within": 1.0,
    "sigma": np.ones(3),
    "pairs": {"alpha": np.ones(3), "r_cut": np.ones(3)},
    "theta": THETA,
    "new_theta": THETA,
    "features": ["pressure"],
    "gradients": ["pressure"],
    "direction": {"diameters": [1.0, 0.0]},
    "with_respect_to": ["diameters"],
    "before": (THETA, PACKING),
    "after": (THETA, PACKING),
    "strain": np.eye(2),
    "gradient": np.eye(2),
    "tensor": np.zeros((2, 2, 2, 2)),
    "stress": np.zeros((2, 2)),
    "positions": POSITIONS[None],
    "typeid": TYPEID,
    "box": BOX,
    "boxes": BOX,
    "stages": [ensemble.Minimize()],
    "n_modes": 2,
    "n_particles": 4,
    "n_types": 2,
    "density": 1.0,
    "final_density": 1.1,
    "dimension": 2,
    "replicas": 1,
    "seed": 1,
    "temperature": 0.1,
    "steps": 10,
    "max_strain": 0.01,
    "step": 0.01,
    "k": 6,
    "degree": 6,
    "edges": [0.0, 1.0],
    "width": 0.1,
    "displacement": POSITIONS,
    "groups": TYPEID,
    "parameter": "diameters",
    "potential": "harmonic_morse",
    "arrays": THETA.arrays(),
    "frame": FRAME,
    "frames": [FRAME],
    "packings": [(THETA, PACKING)],
    "path": "nothing.gsd",
    "paths": ["nothing.gsd"],
    "directory": "nothing",
    "source": "",
    "r": [1.0],
    "r_cut": 1.0,
    "six": [4.0, 4.0, 0.0, 0.0, 0.0, 0.0],
    "vector": [1.0, 1.0, 1.0],
    "matrix": np.eye(2),
    "stiffness": 1.0,
    "length": 1.0,
    "name": "square",
    "expected": "",
    "types": ("A", "B"),
    "mode": "simple_shear",
    "make": lambda *_: None,
    "stiffnesses": 1.0,
    "values": [1.0],
    "modes": None,
    "new": None,
    "which": "pressure",
    "campaign": None,
    "key": [0, 0],
    "counter": [0, 0, 0, 0],
    "purpose": 0,
    "particle": 0,
    "replica": 0,
    "device": "cpu",
    "formulas": [lambda r: (r - 1, 1 + 0 * r, 0 * r)] * 3,
    "breaks": [[1.0]] * 3,
    "diameters": [0.8, 1.0],
}  # fmt: skip

ARRAY = np.ones((3, 2))
RAGGED = [[0.0, 1.0], [2.0]]
NO_ARRAYS = (None, "text", {"x": 1}, RAGGED, PACKING)
NO_PATHS = (None, 3, ARRAY, ["a", 1], {"x": 1}, PACKING, b"bytes")
NO_NAMES = (None, 3, ARRAY, {"pressure": 1}, [3], [None], [["pressure"]], PACKING)
# What is wrong for an argument of each name.
WRONG: dict[str, tuple[Any, ...]] = {
    "packing": (None, ARRAY, THETA, FRAME, (THETA, PACKING), "file.gsd", {"x": 1}, jnp.ones(3)),
    "state": (None, ARRAY, PACKING, "text"),
    "function": (None, 3, "text"),
    "new_packing": (None, ARRAY, THETA, (THETA, PACKING)),
    "rattlers": (None, "text", ARRAY, [True, False]),
    "within": (None, "far", -1.0, float("nan")),
    "theta": (None, ARRAY, PACKING, THETA.arrays(), bridge.HarmonicMorse, "harmonic_morse", FRAME),
    "new_theta": (None, ARRAY, PACKING, THETA.arrays()),
    "features": NO_NAMES,
    "gradients": NO_NAMES,
    "with_respect_to": (3, ARRAY, {"diameters": 1}, [3], [None]),
    "direction": (None, 3, ARRAY, "diameters", [("diameters",)], {"diameters": None}, {}),
    "before": (None, PACKING, (PACKING, THETA), (PACKING,)),
    "after": (None, PACKING, (PACKING, THETA), (PACKING,)),
    "strain": NO_ARRAYS,
    "gradient": NO_ARRAYS,
    "tensor": NO_ARRAYS,
    "stress": NO_ARRAYS,
    "positions": NO_ARRAYS,
    "typeid": (*NO_ARRAYS, [0.5, 1.0, 0.0, 1.0]),
    "boxes": NO_ARRAYS,
    "box": NO_ARRAYS[1:],
    "stages": (None, "minimize", 3, ensemble.Minimize(), [None]),
    "bonds": (3, "all", {"pairs": 1}, [None], ARRAY),
    "velocities": NO_ARRAYS[1:],
    "frame": (None, ARRAY, PACKING, "file.gsd"),
    "packings": (None, 3, [PACKING], [None], [(PACKING, THETA)]),
    "path": NO_PATHS,
    "paths": NO_PATHS,
    "directory": NO_PATHS,
    "arrays": (None, ARRAY, [1.0], "text"),
    "displacement": NO_ARRAYS,
    "modes": (None, ARRAY, PACKING),
    "edges": NO_ARRAYS[1:],
    "window": (None, 1.4, "sigma"),
    "campaign": (None, {"name": "x"}, "campaign.toml"),
    "density": (None, "1.6", ARRAY, -1.0, float("nan")),
    "n_particles": (None, "4", ARRAY, 2.5, 0),
    "composition": ("AB", {"A": 1}, RAGGED),
    "groups": NO_ARRAYS,
    "r": NO_ARRAYS,
    "r_cut": NO_ARRAYS,
    "six": NO_ARRAYS,
    "vector": NO_ARRAYS,
    "matrix": NO_ARRAYS,
    "potential": (None, 3, ARRAY, ["harmonic_morse"], "harmonic_mores"),
    "tolerance": ("small", ARRAY, -1.0, float("nan")),
    "n_modes": (None, "3", 0, 1.5, ARRAY),
    "make": (None, 3),
    "formulas": (None, 3, "text", ARRAY, [None] * 3, [3.0] * 3, [len]),
    "breaks": (None, 3, "text", [[1.0]], [["far"]] * 3, [[2.0, 1.0]] * 3, [[float("nan")]] * 3),
    "diameters": (None, "text", RAGGED, [0.0, 1.0], [-1.0, 1.0], [float("inf"), 1.0], []),
    "first": ("near", ARRAY, -1.0, [1.0], float("nan")),
    "derivatives": (3, "depth", ["depth"], {"depth": 3}, {"depth": [len]}, {"depth": [3.0] * 3}),
    "most_bytes": (None, "much", -1.0, float("nan")),
}  # fmt: skip
# Where a None is a choice, or another kind of thing is.
FINE: dict[tuple[str, str], Callable[[Any], bool]] = {
    ("make_start", "theta"): lambda v: v is None,  # bonds alone
    ("quench_stages", "theta"): lambda v: v is None,
    **{(f, "density"): lambda v: v is None for f in ("make_start", "quench", "anneal")},  # no box
    ("compress_stages", "theta"): lambda v: True,  # does not matter
    # Stages are checked where they are used.
    ("quench_stages", "tolerance"): lambda v: True,
    ("anneal_stages", "tolerance"): lambda v: True,
    ("compress_stages", "tolerance"): lambda v: True,
    ("read_gsd", "theta"): lambda v: v is None,
    ("read_trajectory", "theta"): lambda v: v is None,
    ("analyze", "theta"): lambda v: v is None,
    ("analyze", "features"): lambda v: v is None,
    ("analyze_table", "theta"): lambda v: v is None,
    ("analyze_table", "features"): lambda v: v is None,
    ("read_gsd", "potential"): lambda v: v is None,
    ("GSDReader", "potential"): lambda v: v is None,
    ("wrap", "box"): lambda v: v is None,
    ("build_table", "potential"): lambda v: isinstance(v, str),  # any name
}  # fmt: skip

# Functions in rooms, which the packages do not list.
BEYOND = {
    "by_bond": by_bond,
    "by_particle": by_particle,
    "by_type": by_type,
    "deformation": deformation,
    "frame_of": frame_of,
    "next_crossing": next_crossing,
    "nonaffine_forces": nonaffine_forces,
    "relaxation": relaxation,
    "velocity_gradient": velocity_gradient,
    "analyze": analysis.analyze,
    "load_potential": toml_files.load_potential,
    "load_preparation": files.load_preparation,
    "read_trajectory": formats.read_trajectory,
    "read_history": history.read_history,
    "write_overview": at_a_glance.write_overview,
}


def functions() -> Iterator[tuple[str, str, Callable[..., Any]]]:
    for module in (bridge, ensemble, handover, campaigns):
        for name in module.__all__:
            found = getattr(module, name)
            error = isinstance(found, type) and issubclass(found, BaseException)
            if callable(found) and not error and not isinstance(found, bridge.Feature):
                yield f"{module.__name__.split('.')[-1]}.{name}", name, found
    for name, found in BEYOND.items():
        yield f"{found.__module__.removeprefix('amorph.')}.{name}", name, found


def taken(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The arguments of a function; of ``**begin`` those that it stands for."""
    out = dict(inspect.signature(function).parameters)
    if out.pop("begin", None) is not None:
        kind = inspect.Parameter.KEYWORD_ONLY
        usual = {"start": "random", "noise": 0.0, "order": "in_order", "device": "cpu"}
        for name in Begin.__annotations__:
            default = 0 if name == "first_replica" else usual.get(name)
            out[name] = inspect.Parameter(name, kind, default=default)
    return out


def cases() -> Iterator[Any]:
    for label, name, function in functions():
        if isinstance(function, type) and function.__name__ not in ("GSDReader", "GSDWriter"):
            continue  # results are made by functions; the others have tests of their own
        try:
            parameters = taken(function)
        except ValueError:
            continue
        for argument in parameters:
            if argument in WRONG:
                yield pytest.param(name, function, argument, id=f"{label}-{argument}")


def called(function: Callable[..., Any], /, **given: Any) -> None:
    """Call, and go through what is yielded."""
    found = function(**given)
    if isinstance(found, Iterator):
        next(found, None)
    elif hasattr(found, "close"):
        found.close()


@pytest.mark.parametrize(("name", "function", "argument"), list(cases()))
def test_a_wrong_argument_is_refused_by_name(
    name: str,
    function: Callable[..., Any],
    argument: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    parameters = taken(function).values()
    given = {p.name: GOOD[p.name] for p in parameters if p.default is inspect.Parameter.empty}
    if "modes" in given and argument != "modes":
        given["modes"] = Modes(np.ones(1), np.ones((4, 2, 1)), 2, THETA, PACKING)
    if name in ("Packing", "frame_of") and "positions" in given:
        given["positions"] = POSITIONS
    fine = FINE.get((name, argument), lambda _: False)
    for wrong in WRONG[argument]:
        default = next(p.default for p in parameters if p.name == argument)
        if fine(wrong) or (wrong is None and default is None):
            continue
        with pytest.raises(AmorphError) as caught:
            called(function, **{**given, argument: wrong})
        assert len(str(caught.value)) > 20, wrong
        assert not isinstance(caught.value.__cause__, (AttributeError, KeyError)), wrong
    assert not list(tmp_path.iterdir())


def test_a_keyword_that_is_none_is_refused_by_the_function_that_was_called() -> None:
    with pytest.raises(TypeError, match=r"quench\(\) got an unexpected keyword argument 'strat'"):
        ensemble.quench(THETA, 32, 1.0, strat="square")  # type: ignore[call-arg]


def test_all_functions_with_packings_take_part() -> None:
    tried = {case.values[0] for case in cases() if case.values[2] == "packing"}
    assert len(tried) >= 25
    assert {"relax", "measure", "jacobian", "follow", "stress_strain", "pair_distribution"} <= tried


PAIRS_OF_ARGUMENTS = [
    (name, function)
    for name, function in ((n, f) for _, n, f in functions() if not isinstance(f, type))
    if list(inspect.signature(function).parameters)[:2] == ["theta", "packing"]
]


@pytest.mark.parametrize(
    ("name", "function"), PAIRS_OF_ARGUMENTS, ids=[n for n, _ in PAIRS_OF_ARGUMENTS]
)
def test_swapped_arguments_are_told_as_such(name: str, function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters.values()
    given = {p.name: GOOD[p.name] for p in parameters if p.default is inspect.Parameter.empty}
    given |= {"packing": THETA, "theta": PACKING}
    with pytest.raises(InputError, match="theta and packing are swapped: the interactions come"):
        function(**given)


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        ((THETA.arrays(), PACKING), r"theta is a dict of diameters.*bridge\.from_arrays\("),
        ((bridge.SoftSphere, PACKING), r"theta is the class SoftSphere.*SoftSphere\(\.\.\.\)"),
        ((THETA, FRAME), r"packing is a Frame.*bridge\.Packing\.from_frame\(frame\)"),
        ((THETA, FRAME.positions), r"packing is an array of shape \(4, 2\).*Packing\.of\("),
        ((THETA, "quench.gsd"), r"packing is 'quench\.gsd'.*bridge\.read_gsd\(path\)"),
        ((THETA, (THETA, PACKING)), r"take it out of the tuple: theta, packing = "),
        ((THETA, iter([PACKING])), r"for theta, packing in"),
        ((THETA, None), r"packing is None"),
    ],
)
def test_the_message_says_how_to_have_what_is_right(given: tuple[Any, Any], cure: str) -> None:
    with pytest.raises(InputError, match=cure):
        bridge.relax(*given)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"positions": POSITIONS[0]}, r"positions have shape \(2,\)"),
        ({"positions": np.zeros((0, 2))}, r"positions have shape \(0, 2\)"),
        ({"positions": np.ones((4, 4))}, r"positions have shape \(4, 4\)"),
        ({"positions": POSITIONS * np.nan}, r"not finite: particle 0 is at \[nan, nan\]"),
        ({"positions": POSITIONS.tolist()}, r"positions is a list of list.*Packing\.of"),
        ({"positions": None}, "positions is None"),
        ({"positions": POSITIONS.astype(complex)}, "complex"),
        ({"typeid": TYPEID[:3]}, "4 integers of at least 0"),
        ({"typeid": TYPEID - 1}, "4 integers of at least 0"),
        ({"typeid": TYPEID + 0.5}, "4 integers of at least 0"),
        ({"typeid": None}, "typeid is None"),
        ({"box": np.eye(3)}, "positions are in 2 dimensions, box in 3"),
        ({"box": np.ones(2)}, r"box has shape \(2,\)"),
        ({"box": np.diag([4.0, np.inf])}, "box is not finite"),
        ({"box": np.zeros((2, 2))}, "box has no volume"),
        ({"box": np.diag([4.0, -4.0])}, "left-handed"),
        ({"box": 4.0}, r"box is 4\.0: it must be an array"),
        ({"bonds": np.array([[0, 4]])}, "bonds reach from 0 to 4: there are 4"),
        ({"bonds": np.array([[1, 1]])}, "joins a particle with itself"),
        ({"bonds": np.array([0, 1])}, r"bonds have shape \(2,\)"),
        ({"images": np.zeros((4, 3), dtype=int)}, r"images are an array of shape \(4, 3\)"),
        ({"images": np.zeros((4, 2))}, "images .* must be integers"),
    ],
)
def test_a_packing_of_what_cannot_be_is_refused(changes: dict[str, Any], named: str) -> None:
    good = {"positions": POSITIONS, "typeid": TYPEID, "box": BOX}
    with pytest.raises(InputError, match=named):
        bridge.Packing(**{**good, **changes})


def test_a_packing_takes_other_numbers_of_the_same_value() -> None:
    made = bridge.Packing(POSITIONS.astype(np.float32), TYPEID.astype(np.int64), BOX.astype(int))
    assert made.positions.dtype == np.float64
    assert made.typeid.dtype == np.int32
    assert made.box is not None
    assert made.box.dtype == np.float64
    assert made.density == 4 / 16


def test_jax_may_put_anything_into_a_packing() -> None:
    import jax

    doubled = jax.tree_util.tree_map(lambda a: 2 * a, PACKING)
    assert np.array_equal(doubled.positions, 2 * POSITIONS)
    leaves, structure = jax.tree_util.tree_flatten(PACKING)
    assert jax.tree_util.tree_unflatten(structure, [None] * len(leaves)).positions is None
    stacked = jax.tree_util.tree_map(lambda *a: np.stack(a), PACKING, PACKING)
    assert stacked.positions.shape == (2, 4, 2)
    shapes = jax.eval_shape(lambda p: p, PACKING)
    assert shapes.positions.shape == (4, 2)
    slope = jax.grad(lambda p: jnp.sum(p.positions**3), allow_int=True)(PACKING)
    assert np.allclose(slope.positions, 3 * POSITIONS**2)
    for odd in (doubled, stacked, shapes, slope):
        assert repr(odd).startswith("Packing")


# Each with a feature that it refuses once it knows the name, before anything is computed.
NAMES: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "measure": (lambda n: bridge.measure(THETA, PACKING, n), "steinhardt_6", "3 dimensions"),
    "gradients": (lambda n: bridge.measure(THETA, PACKING, (), n), "psi_8_sharp", "no gradient"),
    "jacobian": (lambda n: bridge.jacobian(THETA, PACKING, n), "steinhardt_6", "3 dimensions"),
    "second_order": (
        lambda n: bridge.second_order(THETA, PACKING, n, {"diameters": [1.0, 0.0]}),
        "frequencies_2",
        "second order of vibrational modes",
    ),
    "measure_batch": (
        lambda n: bridge.measure_batch(THETA, POSITIONS[None], TYPEID, BOX, n),
        "frequencies_2",
        "use measure",
    ),
}


@pytest.mark.parametrize("which", NAMES)
def test_one_name_alone_stands_for_itself_everywhere(which: str) -> None:
    call, name, why = NAMES[which]
    for given in (name, [name], (name,), bridge.feature(name), [bridge.feature(name)]):
        with pytest.raises(bridge.errors.FeatureError, match=f"{name}.*{why}"):
            call(given)
    with pytest.raises(
        bridge.errors.FeatureError, match="no feature 'presure'; did you mean 'pressure'"
    ):
        call("presure")


def test_one_name_alone_stands_for_itself_in_a_request() -> None:
    of = analysis.Request.of
    assert of("pressure").features == of(["pressure"]).features == ("pressure",)
    assert of((), "pressure").gradients == of((), ["pressure"]).gradients == ("pressure",)
    assert of(types="large").types == ("large",)


def test_a_feature_is_a_name_and_a_function() -> None:
    for wrong in ({"name": None}, {"function": None}, {"function": 3.0}, {"reach": 1.5}):
        with pytest.raises(InputError, match=f"a feature's {next(iter(wrong))} is"):
            bridge.Feature(**{"name": "tried", "function": lambda t, s: 0.0, **wrong})
    for wrong in (None, "tried", lambda t, s: 0.0):
        with pytest.raises(InputError, match="it must be a Feature"):
            bridge.register(wrong)
        with pytest.raises(InputError, match="it must be"):
            bridge.register_family("tried_{n}", None)


@pytest.mark.parametrize("which", ["a feature", "value_and_grad"])
def test_features_and_gradients_refuse_the_other_order(which: str) -> None:
    call = bridge.pressure if which == "a feature" else bridge.value_and_grad("pressure")
    with pytest.raises(InputError, match="theta and packing are swapped: the interactions come"):
        call(PACKING, THETA)
    for given in itertools.product((THETA, None, {"diameters": [1.0]}), (THETA, None, POSITIONS)):
        with pytest.raises(InputError, match=r"(theta|packing) is .*: it must be"):
            call(*given)
