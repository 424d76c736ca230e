"""Campaign files of designs: what they may hold, checked whole before any work starts."""

import warnings
from collections.abc import Sequence
from inspect import signature
from typing import Annotated, Any, Literal

import numpy as np
import optax
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from amorph import bridge
from amorph.bridge.features.kinds import check_scalar
from amorph.bridge.matter.potentials import DIAMETERS
from amorph.handover import POTENTIALS, type_names

from ...inputs.files import StudyFile
from ...inputs.objectives import Objective
from ...inputs.tables import Number, Positive, Potential, Table, unknown

__all__ = [
    "Campaign",
    "Clip",
    "Descent",
    "DesignSettings",
    "GaussNewton",
    "Schedule",
    "Stop",
    "Validation",
    "component_groups",
]

# Packings of a step of second order for an ensemble.
PACKINGS = 32


class DesignSettings(Table):
    """``[design]``: the free parameters, their bounds, and the packings.

    ``individual``: each of `packings` packings is to reach the targets, and is followed while the
    parameters change. ``ensemble``: the mean over `packings` packings is, prepared anew at every
    step (``fresh``), or from the same starts (``common``).
    """

    kind: Literal["individual", "ensemble"] = "individual"
    parameters: Annotated[list[str], Field(min_length=1)]
    packings: Annotated[int, Field(ge=1)] | None = None
    starts: Literal["fresh", "common"] | None = None
    bounds: dict[str, Annotated[list[Number], Field(min_length=2, max_length=2)]] = Field(
        default_factory=dict
    )
    held: dict[str, list[str]] = Field(default_factory=dict)
    shared: dict[str, list[Annotated[list[str], Field(min_length=2)]]] = Field(default_factory=dict)
    gradient_limit: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    jump_terms: bool | None = None

    @property
    def n_packings(self) -> int:
        """The number of packings a step measures: by default one, of an ensemble 8.

        Of second order an ensemble has 32, see `Campaign`.
        """
        return self.packings or (1 if self.kind == "individual" else 8)

    @property
    def limit(self) -> float:
        """`gradient_limit`, by default 1 for an ensemble; 0: none."""
        if self.gradient_limit is not None:
            return self.gradient_limit
        return 1.0 if self.kind == "ensemble" else 0.0

    @model_validator(mode="after")
    def _whole(self) -> "DesignSettings":
        if self.kind == "individual":
            for name in ("starts", "gradient_limit", "jump_terms"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is for kind = 'ensemble'.")
        return self


class Schedule(Table):
    """``[optimizer.schedule]``: how the learning rate falls.

    ``halve``: by half every `steps`; the others: to `end` times itself over `steps`.
    """

    kind: Literal["halve", "linear", "cosine", "exponential"]
    steps: Annotated[int, Field(ge=1)]
    end: Annotated[float, Field(gt=0, le=1)] = 0.01


class Clip(Table):
    """``[optimizer.clip]``: the gradient's length (``norm``) or each component (``value``)."""

    kind: Literal["norm", "value"]
    limit: Positive


class Descent(Table):
    """``[optimizer]`` of first order: an optax optimiser, its learning rate, and the rate's own."""

    kind: Literal[
        "rmsprop", "adam", "sgd", "adabelief", "adagrad", "adamax", "amsgrad", "lion", "nadam",
        "radam", "yogi",
    ]  # fmt: skip
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    meta_learning_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3e-3
    options: dict[str, bool | Number] = Field(default_factory=dict)
    schedule: Schedule | None = None
    clip: Clip | None = None

    @model_validator(mode="after")
    def _known(self) -> "Descent":
        known = [k for k in signature(getattr(optax, self.kind)).parameters if k != "learning_rate"]
        for name in self.options:
            if name not in known:
                raise ValueError(unknown(f"option of {self.kind}", name, known))
        return self


class GaussNewton(Table):
    """``[optimizer]`` of second order: Gauss-Newton steps in a trust region.

    `scales`: for each parameter, which change of it counts as 1; by default a twentieth of their
    mean for diameters, the mean itself for others. `radius`: how far the first step goes, in these
    units; by default 0.1, and for ensembles, which are known with an error, 0.5.
    """

    kind: Literal["gauss_newton"]
    scales: dict[str, Positive] = Field(default_factory=dict)
    radius: Positive | None = None


class Stop(Table):
    """``[stop]``: when a design ends: below a loss, or after so many steps.

    An ensemble's loss is mostly noise: by default it ends no design. `error`: one of second order
    ends where each mean, with two standard errors, is known to be so near its target.
    """

    loss: Positive | None = None
    error: Positive | None = None
    steps: Annotated[int, Field(ge=0)] = 5000


class Validation(Table):
    """``[[validation]]``: fresh packings, measured with the parameters that the design found.

    After the last step, and every `every` steps if that is given; of another size where
    `n_particles` is.
    """

    packings: Annotated[int, Field(ge=2)] = 2000
    n_particles: Annotated[int, Field(ge=1)] | None = None
    every: Annotated[int, Field(ge=1)] | None = None


class Campaign(StudyFile):
    """A file with ``[design]`` for ``amorph run``."""

    potential: Potential
    design: DesignSettings
    objective: Annotated[list[Objective], Field(min_length=1)]
    optimizer: Annotated[Descent | GaussNewton, Field(discriminator="kind")]
    stop: Stop = Stop()
    validation: list[Validation] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _optimized(cls, given: Any) -> Any:
        """The optimiser of a file that has none, and the packings of a step that goes with it."""
        if not isinstance(given, dict):
            return given
        out = {"optimizer": {"kind": "gauss_newton"}, **given}
        design, optimizer = out.get("design"), out["optimizer"]
        if isinstance(design, dict) and isinstance(optimizer, dict):
            means = design.get("kind") == "ensemble" and optimizer.get("kind") == "gauss_newton"
            if means and design.get("packings") is None:
                out["design"] = {**design, "packings": PACKINGS}
        return out

    @field_validator("optimizer", mode="before")
    @classmethod
    def _of_a_kind(cls, given: Any) -> Any:
        if isinstance(given, dict) and "kind" not in given:
            raise ValueError("say which kind: 'gauss_newton', or one of first order as 'rmsprop'.")
        return given

    @model_validator(mode="after")
    def _fits(self) -> "Campaign":
        if self.bonds is not None:
            raise ValueError("[bonds]: a design changes a pair potential; it has no springs.")
        if self.preparation.start == "file":
            self._fits_file()
        if self.preparation.engine == "hoomd":
            from ..hoomd_preparing import check_hoomd

            theta = self.potential.theta()
            if self.potential.kind not in POTENTIALS:
                raise ValueError(
                    f"preparation.engine = 'hoomd': {self.potential.kind} is no potential of "
                    f"hoomd.amorph ({', '.join(POTENTIALS)}): let Amorph's own engine prepare."
                )
            check_hoomd(self.preparation.stages(theta, self.preparation.dimension))
        known = {p.name: p for p in self.potential.theta().declared}
        for name in (*self.design.parameters, *self.design.bounds):
            if name not in known:
                raise ValueError(unknown("parameter", name, known))
        for name, (low, high) in self.design.bounds.items():
            if low > high:
                raise ValueError(f"design.bounds.{name} = [{low}, {high}]: the lower comes first.")
            if not known[name].allows(np.array([low, high])).all():
                raise ValueError(
                    f"design.bounds.{name} = [{low}, {high}]: {name} must be {known[name].bounds}."
                )
        component_groups(self)
        self._fits_changes()
        if isinstance(self.optimizer, GaussNewton):
            if self.design.kind == "ensemble" and self.design.n_packings < 2:
                raise ValueError(
                    "design.packings = 1: with optimizer.kind = 'gauss_newton' a step's mean needs "
                    "an error: at least 2."
                )
            for name in self.optimizer.scales:
                if name not in self.design.parameters:
                    raise ValueError(unknown("parameter", name, self.design.parameters))
        self._fits_errors()
        for objective in self.objective:
            feature = bridge.feature(objective.feature)
            if self.preparation.dimension not in feature.dimensions:
                raise ValueError(
                    f"feature {feature.name!r} is not defined in {self.preparation.dimension} "
                    "dimensions."
                )
            if feature.needs_box and self.preparation.open:
                raise ValueError(
                    f"feature {feature.name!r} needs a volume, which clusters have not."
                )
            if not (feature.differentiable and feature.scalar):
                raise ValueError(
                    f"feature {feature.name!r} is no differentiable scalar: a design needs one."
                )
            check_scalar(feature, self.potential.theta(), self.preparation.dimension)
            if self.design.jump_terms and not feature.has_jump_terms:
                raise ValueError(
                    f"design.jump_terms: {feature.name!r} has none, since it needs vibrational "
                    "modes: leave jump_terms out."
                )
            low, high = feature.range_in(self.preparation.dimension)
            if objective.change is None and not low <= objective.target <= high:
                warnings.warn(
                    f"objective: target {objective.target:g} for {feature.name} lies outside "
                    f"[{low:g}, {high:g}], what is possible for an isotropic solid in "
                    f"{self.preparation.dimension} dimensions.",
                    stacklevel=2,
                )
        return self

    def _fits_errors(self) -> None:
        """Raise `ValueError` for what only means over fresh packings have."""
        ensemble = self.design.kind == "ensemble"
        second = isinstance(self.optimizer, GaussNewton)
        known = ensemble and second and self.design.starts != "common"
        if self.stop.error is not None and not known:
            raise ValueError(
                "stop.error is for kind = 'ensemble' with fresh starts and optimizer.kind = "
                "'gauss_newton', which know the errors of their means: give stop.loss."
            )
        if not ensemble and any(o.within is not None for o in self.objective):
            raise ValueError("objective.within is for kind = 'ensemble': each packing counts.")

    def _fits_changes(self) -> None:
        """Raise `ValueError` for changes where there is no packing's own value to change."""
        if self.changes and (self.design.kind != "individual" or self.design.n_packings > 1):
            raise ValueError(
                "objective.change is from a packing's own value: give target for an ensemble, or "
                "for several packings at once."
            )

    @property
    def changes(self) -> bool:
        """Whether targets are only known from the packing that is designed."""
        return any(o.change is not None for o in self.objective)

    def from_values(self, values: Sequence[float]) -> "Campaign":
        """The campaign with the targets that it has for a packing of these values."""
        targets = [o.target_from(v) for o, v in zip(self.objective, values, strict=True)]
        return self.to_targets(targets)

    def to_targets(self, targets: Sequence[float]) -> "Campaign":
        """The campaign with targets that are known."""
        new = [
            o.model_copy(update={"target": t}) for o, t in zip(self.objective, targets, strict=True)
        ]
        return self.model_copy(update={"objective": new})

    def _fits_file(self) -> None:
        """Raise `ValueError` for what packings of a file cannot be asked for."""
        frames, packings = self.preparation.n_replicas, self.design.n_packings
        begin = self.preparation.begin(self.potential, None, 0, 1)
        if begin.bonds:
            raise ValueError(f"{self.preparation.file} has springs: a design has none.")
        if (d := begin.start.positions.shape[2]) != self.preparation.dimension:
            raise ValueError(
                f"preparation.dimension = {self.preparation.dimension}, but "
                f"{self.preparation.file} has {d}: say dimension = {d}."
            )
        if packings > frames:
            raise ValueError(
                f"design.packings = {packings}: {self.preparation.file} has {frames} frames."
            )
        if self.design.kind == "ensemble" and self.design.starts != "common":
            raise ValueError(
                "preparation.start = 'file' has no fresh packings for each step: give "
                "design.starts = 'common', or start at random."
            )
        if self.validation:
            raise ValueError(
                "[[validation]] prepares fresh packings, which a file does not have: leave it out."
            )

    @property
    def n_designs(self) -> int:
        """The number of designs at a point of the sweep; of a file, as many as its frames make."""
        replicas = self.preparation.n_replicas
        if self.preparation.start == "file":
            return replicas // self.design.n_packings if self.design.kind == "individual" else 1
        return replicas

    @property
    def adds_jump_terms(self) -> bool:
        """Whether jump terms are added to packings' gradients: ``design.jump_terms``.

        By default those of an ensemble do, if all objectives can.
        """
        if self.design.jump_terms is not None:
            return self.design.jump_terms
        features = [bridge.feature(o.feature) for o in self.objective]
        return self.design.kind == "ensemble" and all(f.has_jump_terms for f in features)

    @property
    def threshold(self) -> float | None:
        """The loss below which a design has converged: ``stop.loss``.

        By default 1e-6 for individual designs, None for an ensemble.
        """
        if self.stop.loss is None and self.design.kind == "individual":
            return 1e-6
        return self.stop.loss

    def bounds_of(self, parameter: str) -> tuple[float, float]:
        """The bounds of a parameter: those of the file, or those of the potential."""
        if parameter in self.design.bounds:
            low, high = self.design.bounds[parameter]
            return low, high
        own = next(p for p in self.potential.theta().declared if p.name == parameter)
        # Not as far as a bound that is none of the values.
        closed = own.zero_allowed or own.low != 0
        return (own.low if closed else 1e-3), own.high

    @property
    def first_radius(self) -> float:
        """How far the first step of second order goes, in units of `scales`."""
        given = self.optimizer.radius if isinstance(self.optimizer, GaussNewton) else None
        return given or (0.1 if self.design.kind == "individual" else 0.5)

    def counted(self, each: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Of packings' values (R, n_objectives), which have a part in the means: `within`."""
        low, high = (
            np.array([o.within[side] if o.within else bound for o in self.objective])
            for side, bound in ((0, -np.inf), (1, np.inf))
        )
        measured = np.isfinite(each).all(axis=1, keepdims=True)
        return np.asarray(measured & (each >= low) & (each <= high))

    def scales(self) -> dict[str, float]:
        """Which change of each designed parameter counts as 1: see `GaussNewton`."""
        given = self.optimizer.scales if isinstance(self.optimizer, GaussNewton) else {}
        values = self.potential.theta().arrays()
        means = {name: float(np.abs(values[name]).mean()) for name in self.design.parameters}
        own = {k: 0.05 * v if k == DIAMETERS.name else v for k, v in means.items()}
        return {k: given.get(k, v if v > 0 else 1.0) for k, v in own.items()}

    def components(self, parameter: str) -> list[str]:
        """The names of a parameter's components: types (A, B) or pairs (AA, AB, BB)."""
        theta = self.potential.theta()
        return theta.component_names(parameter, type_names(theta.n_types))


def component_groups(campaign: Campaign) -> dict[str, NDArray[np.int64]]:
    """For each designed parameter, which free number stands for each component; -1: held.

    Raises `ValueError` for components that are not there, or are one but start apart.
    """
    design = campaign.design
    for table, listed in (("held", design.held), ("shared", design.shared)):
        for name in listed:
            if name not in design.parameters:
                raise ValueError(
                    f"design.{table}.{name}: {name!r} is none of design.parameters, "
                    f"{design.parameters}."
                )
    values = campaign.potential.theta().arrays()
    out = {}
    for name in design.parameters:
        names = campaign.components(name)

        def place(component: str, names: list[str] = names, name: str = name) -> int:
            if component not in names:
                raise ValueError(unknown(f"component of {name}", component, names))
            return names.index(component)

        where = np.arange(len(names))
        for group in design.shared.get(name, []):
            places = [place(c) for c in group]
            if np.ptp(values[name][places]) != 0:
                raise ValueError(
                    f"design.shared.{name} = {group}: they are to be one, but start at "
                    f"{values[name][places].tolist()}."
                )
            where[np.isin(where, where[places])] = where[places].min()
        for component in design.held.get(name, []):
            where[where == where[place(component)]] = -1
        free = np.unique(where[where >= 0])
        if not len(free):
            raise ValueError(f"design.held.{name}: nothing is left to change: drop the parameter.")
        out[name] = np.where(where >= 0, np.searchsorted(free, where), -1)
    return out
