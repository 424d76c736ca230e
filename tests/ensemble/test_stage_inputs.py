"""Stages, starts and trajectories that cannot be have a named error, before any work starts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from amorph import ensemble
from amorph.ensemble import Brownian, Compress, Langevin, Minimize
from amorph.handover import BoxTooSmallError, InputError, UnknownPotentialError

pytestmark = pytest.mark.usefixtures("no_work")

X = np.random.default_rng(3).uniform(-4, 4, (2, 96, 2))
TYPES = np.repeat([0, 1], 48)
BOX = 8.0 * np.eye(2)
MOVE = Langevin(10, 0.01, 0.1)


def prepare(theta: Any, *stages: Any, **changes: Any) -> Any:
    given = {"positions": X, "typeid": TYPES, "box": BOX} | changes
    return ensemble.prepare(theta, stages=list(stages), **given)


def test_what_is_right_gets_to_work(morse: Any) -> None:
    """The fixture works, and the arguments that the tests below change one by one are good."""
    with pytest.raises(AssertionError, match="work was started"):
        prepare(morse, Minimize(), MOVE, Brownian(1, 0.01, 0.0), Compress(1.6))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"steps": 0}, "steps = 0"),
        ({"steps": -5}, "steps = -5"),
        ({"steps": 1.5}, "steps = 1.5"),
        ({"steps": np.nan}, "steps"),
        ({"steps": None}, "steps"),
        ({"steps": True}, "steps"),
        ({"steps": 2**32}, "steps = 4294967296.*below 4294967296"),
        ({"dt": 0.0}, "dt = 0.0"),
        ({"dt": -0.01}, "dt = -0.01"),
        ({"dt": np.nan}, "dt"),
        ({"dt": np.inf}, "dt"),
        ({"dt": "0.01"}, "dt"),
        ({"friction": -1.0}, "friction = -1.0"),
        ({"friction": np.nan}, "friction"),
        ({"friction": np.inf}, "friction"),
        ({"friction": None}, "friction"),
    ],
    ids=lambda x: str(x) if isinstance(x, dict) else "",
)
@pytest.mark.parametrize("kind", [Langevin, Brownian])
def test_dynamics(kind: Any, changes: dict, named: str, morse: Any) -> None:
    given = {"steps": 10, "dt": 0.01, "temperature": 0.1} | changes
    with pytest.raises(InputError, match=named):
        prepare(morse, Minimize(1e-2), kind(**given))
    name: Any = kind.__name__.lower()
    with pytest.raises(InputError, match=named):
        ensemble.anneal(morse, 96, 1.6, 2, 2, 1, dynamics=name, **given)


def test_brownian_dynamics_needs_friction(morse: Any) -> None:
    with pytest.raises(InputError, match="friction = 0"):
        prepare(morse, Brownian(10, 0.01, 0.1, friction=0.0))


def test_time_steps_are_counted_over_all_stages(morse: Any) -> None:
    half = Langevin(2**31, 0.01, 0.1)
    with pytest.raises(InputError, match=r"4294967296 time steps.*4294967295"):
        prepare(morse, half, Minimize(), Brownian(2**31, 0.01, 0.1))
    with pytest.raises(AssertionError, match="work was started"):
        prepare(morse, half, Brownian(2**31 - 1, 0.01, 0.1))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tolerance": 0.0}, "tolerance = 0.0"),
        ({"tolerance": -1e-9}, "tolerance"),
        ({"tolerance": np.nan}, "tolerance"),
        ({"max_steps": 0}, "max_steps = 0"),
        ({"max_steps": 2.5}, "max_steps"),
        ({"pressure": np.nan}, "pressure = nan"),
        ({"pressure": np.inf}, "pressure = inf"),
        ({"pressure": "high"}, "pressure"),
        ({"pressure": True}, "pressure"),
        ({"pressure": 1.0, "pressure_tolerance": 0.0}, "pressure_tolerance = 0.0"),
        ({"pressure": 1.0, "pressure_tolerance": -1.0}, "pressure_tolerance"),
        ({"pressure": 1.0, "from_pressure": 0.5}, "from_pressure = 0.5"),
        ({"pressure": 1.0, "from_pressure": -0.5}, "from_pressure = -0.5"),
        ({"pressure": -1.0, "from_pressure": 0.5}, "from_pressure"),
        ({"pressure": 0.0, "from_pressure": 0.5}, "from_pressure"),
        ({"from_pressure": 0.5}, "from_pressure"),
        ({"fire": {"dt": 0.1}}, "no setting 'dt'"),
        ({"fire": {"dt_max": 0.0}}, "dt_max"),
        ({"fire": {"delay": 2.5}}, "delay"),
        ({"newton": {"tolerance": 0.1}}, "no setting 'tolerance'.*start, reach, forcing"),
        ({"newton": {"start": -1e-5}}, "start"),
        ({"newton": {"start": np.nan}}, "start"),
        ({"newton": {"reach": 0.0}}, "reach"),
        ({"newton": {"reach": np.inf}}, "reach"),
        ({"newton": {"forcing": 0.0}}, "forcing"),
        ({"newton": {"forcing": "much"}}, "forcing"),
        ({"newton": {"max_products": 0}}, "max_products"),
        ({"newton": {"max_products": 10.5}}, "max_products"),
    ],
    ids=lambda x: str(x) if isinstance(x, dict) else "",
)
def test_minimisation(changes: dict, named: str, morse: Any) -> None:
    with pytest.raises(InputError, match=named):
        prepare(morse, MOVE, Minimize(**changes))
    if "from_pressure" not in changes:
        with pytest.raises(InputError, match=named):
            ensemble.minimize(morse, X, TYPES, BOX, **changes)


@pytest.mark.parametrize(
    ("changes", "error", "named"),
    [
        ({"density": 0.0}, InputError, "density = 0.0"),
        ({"density": -1.0}, InputError, "density"),
        ({"density": np.nan}, InputError, "density"),
        ({"density": None}, InputError, "density"),
        ({"increments": 0}, InputError, "increments = 0"),
        ({"increments": 1.5}, InputError, "increments"),
        ({"increments": 2**31}, InputError, "increments"),
        ({"tolerance": 0.0}, InputError, "tolerance"),
        ({"max_steps": 0}, InputError, "max_steps"),
        ({"density": 50.0}, BoxTooSmallError, "at density 50.0.*twice"),
    ],
    ids=lambda x: str(x) if isinstance(x, dict) else "",
)
def test_compression(changes: dict, error: type, named: str, morse: Any) -> None:
    with pytest.raises(error, match=named):
        prepare(morse, Compress(**({"density": 1.7} | changes)))
    renamed = {"final_density" if k == "density" else k: v for k, v in changes.items()}
    with pytest.raises(error, match=named):
        ensemble.compress(morse, 96, 1.5, **({"final_density": 1.7} | renamed))


def test_compression_of_one_box_among_others(morse: Any) -> None:
    boxes = np.stack([BOX, [[8.0, 7.0], [0.0, 8.0]]])
    with pytest.raises(AssertionError, match="work was started"):
        prepare(morse, Compress(1.8), box=boxes)
    with pytest.raises(BoxTooSmallError, match=r"density 2\.2"):
        prepare(morse, Compress(2.2), box=boxes)
    with pytest.raises(AssertionError, match="work was started"):
        prepare(morse, Compress(2.2), box=BOX)


@pytest.mark.parametrize("pressure", [0.0, -1e-3])
@pytest.mark.parametrize("potential", ["soft_sphere", "harmonic_morse", "harmonic_morse_reduced"])
def test_what_only_repels_holds_no_tension(
    potential: str, pressure: float, parameters: Callable[..., Any]
) -> None:
    attraction = {} if potential == "soft_sphere" else {"binding": 0.0, "alpha": 8.0}
    theta = parameters(potential, [0.8, 1.0], stiffness=5.0, **attraction)
    with pytest.raises(InputError, match=f"pressure = {pressure}.*repel"):
        prepare(theta, Minimize(pressure=pressure))
    with pytest.raises(InputError, match=f"pressure = {pressure}.*repel"):
        prepare(theta, MOVE, Minimize(pressure=pressure))
    with pytest.raises(InputError, match=f"pressure = {pressure}.*repel"):
        prepare([theta, theta], Minimize(pressure=pressure))
    with pytest.raises(InputError, match=f"pressure = {pressure}.*repel"):
        ensemble.minimize(theta, X, TYPES, BOX, pressure=pressure)


@pytest.mark.parametrize("pressure", [0.0, -1e-3])
def test_what_only_repels_is_known_before_it_is_placed(pressure: float, parameters: Any) -> None:
    theta = parameters("soft_sphere", [0.8, 1.0], stiffness=5.0)
    with pytest.raises(InputError, match=f"pressure = {pressure}.*repel"):
        ensemble.quench(theta, 96, 1.6, pressure=pressure)
    with pytest.raises(InputError, match=f"pressure = {pressure}.*repel"):
        ensemble.anneal(theta, 96, 1.6, temperature=0.1, steps=10, pressure=pressure)


def test_one_replica_that_only_repels(parameters: Any) -> None:
    """Of two potentials one holds no tension: which cannot be prepared is said beforehand."""
    pairs = {"stiffness": 5.0, "alpha": 8.0}
    bound = parameters("harmonic_morse", [0.8, 1.0], binding=0.1, **pairs)
    loose = parameters("harmonic_morse", [0.8, 1.0], binding=0.0, **pairs)
    with pytest.raises(AssertionError, match="work was started"):
        prepare(bound, Minimize(pressure=0.0))
    for both in ([bound, loose], [loose, bound]):
        with pytest.raises(InputError, match=r"pressure = 0\.0.*repel"):
            prepare(both, Minimize(pressure=0.0))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"velocities": np.zeros((2, 95, 2))}, r"velocities.*\(2, 96, 2\)"),
        ({"velocities": np.zeros((2, 96, 3))}, "velocities"),
        ({"velocities": np.zeros((96, 2))}, "velocities"),
        ({"velocities": 0.0}, "velocities"),
        ({"velocities": np.full((2, 96, 2), np.nan)}, "velocities are not finite"),
        ({"velocities": np.full((2, 96, 2), np.inf)}, "velocities are not finite"),
        # As many numbers, but in another order: whose would they be?
        ({"velocities": np.zeros((2, 2, 96))}, "velocities"),
        ({"velocities": np.zeros((96, 2, 2))}, "velocities"),
        ({"velocities": np.zeros(2 * 96 * 2)}, "velocities"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**64}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": "today"}, "seed"),
        ({"first_replica": -1}, "first_replica = -1"),
        ({"first_replica": 2**32}, "first_replica"),
        ({"first_replica": 2**32 - 1}, "replica numbers end"),
        ({"trajectory_every": 0}, "trajectory_every = 0"),
        ({"trajectory_every": -2}, "trajectory_every"),
        ({"trajectory_every": 2.5}, "trajectory_every"),
        ({"trajectory_every": 11}, "trajectory_every = 11.*10 steps"),
        ({"threads": 0}, "threads"),
        ({"instruction_set": "sse9"}, "instruction_set = 'sse9'"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else "",
)
def test_arguments_of_prepare(changes: dict, named: str, morse: Any) -> None:
    with pytest.raises(InputError, match=named):
        prepare(morse, MOVE, **changes)


def test_wrong_velocities_are_wrong_without_dynamics_too(morse: Any) -> None:
    with pytest.raises(InputError, match="velocities"):
        prepare(morse, Minimize(), velocities=np.zeros((2, 95, 2)))


def test_velocities_of_one_replica_need_no_axis(morse: Any) -> None:
    """As the positions: (N, d) for one replica."""
    with pytest.raises(AssertionError, match="work was started"):
        prepare(morse, MOVE, positions=X[0], velocities=np.zeros((96, 2)))


def test_frames_of_what_does_not_move(morse: Any) -> None:
    with pytest.raises(InputError, match="trajectory_every"):
        prepare(morse, Minimize(), Compress(1.7), trajectory_every=5)
    with pytest.raises(InputError, match="trajectory"):
        prepare(morse, MOVE, trajectory_velocities=True)  # of which frames?


@pytest.mark.parametrize("stages", [(), ("Langevin",), (Minimize,), (None,)])
def test_what_is_no_stage(stages: Any, morse: Any) -> None:
    with pytest.raises(InputError, match="stage"):
        prepare(morse, *stages)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"start": "hexagonal"}, "no lattice 'hexagonal'.*square, triangular, honeycomb, fcc"),
        ({"start": "fcc"}, "3 dimensions, not 2"),
        ({"start": "triangular", "noise": -0.1}, "noise = -0.1"),
        ({"start": "triangular", "noise": np.nan}, "noise"),
        ({"start": "random", "noise": 0.1}, "noise = 0.1.*random"),
        ({"start": "triangular", "density": 0.0}, "density"),
        ({"start": "triangular", "n_particles": 94}, "compact boxes"),
        ({"order": "alphabetical"}, "order = 'alphabetical'"),
    ],
    ids=lambda x: str(x) if isinstance(x, dict) else "",
)
def test_starts(changes: dict, named: str, morse: Any) -> None:
    with pytest.raises(InputError, match=named):
        ensemble.quench(morse, **({"n_particles": 96, "density": 1.6} | changes))


def test_a_lattice_too_small_for_the_cutoff(morse: Any) -> None:
    with pytest.raises(BoxTooSmallError, match="twice"):
        ensemble.quench(morse, 16, 1.6, start="square")


def test_kinds_of_dynamics_are_named(morse: Any) -> None:
    with pytest.raises(InputError, match=r"dynamics = 'newton'.*langevin.*brownian"):
        ensemble.anneal(morse, 96, 1.6, temperature=0.1, steps=10, dynamics="newton")  # type: ignore[arg-type]


def test_parameters_of_replicas_that_do_not_fit(morse: Any, parameters: Callable[..., Any]) -> None:
    soft = parameters("soft_sphere", [0.8, 1.0], stiffness=5.0)
    one = parameters("harmonic_morse", [0.8], binding=0.1, stiffness=5.0, alpha=6.0)
    with pytest.raises(InputError, match="there are no parameters"):
        prepare([], Minimize())
    with pytest.raises(InputError, match="3 replicas, but 2 replicas"):
        prepare([morse] * 3, Minimize())
    with pytest.raises(InputError, match="replica 1 has potential 'soft_sphere'"):
        prepare([morse, soft], Minimize())
    with pytest.raises(InputError, match="replica 1 has 1 types"):
        prepare([morse, one], Minimize())
    with pytest.raises(InputError, match="stiffness"):
        prepare([morse, type(morse)("harmonic_morse", {**morse.values, "stiffness": [5, -1, 5]})],
                Minimize())  # fmt: skip
    with pytest.raises(UnknownPotentialError, match="lennard_jones"):
        prepare([type(morse)("lennard_jones", {})] * 2, Minimize())
    # A box for each replica, wide enough for its own cutoff; one box for the widest.
    long = parameters("harmonic_morse", [0.8, 1.0], binding=0.1, stiffness=5.0, alpha=3.2)
    wide = 8.3 * np.eye(2)
    with pytest.raises(AssertionError, match="work was started"):
        prepare([morse, long], Minimize(), box=np.stack([BOX, wide]))
    with pytest.raises(BoxTooSmallError):
        prepare([long, morse], Minimize(), box=np.stack([BOX, wide]))
    with pytest.raises(BoxTooSmallError):
        prepare([morse, long], Minimize(), box=BOX)


@pytest.mark.parametrize("name", ["quench", "anneal", "compress"])
def test_types_without_parameters(name: str, morse: Any) -> None:
    more: dict[str, Any] = {
        "quench": {},
        "anneal": {"temperature": 0.1, "steps": 10},
        "compress": {"final_density": 1.7},
    }[name]
    with pytest.raises(InputError, match=r"2 shares"):
        getattr(ensemble, name)(morse, 96, 1.6, composition=[1, 1, 1], **more)
