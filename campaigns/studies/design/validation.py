"""Validation: properties of fresh packings at the parameters that a design found.

A design's own packings are no fair sample of an ensemble, and where the loss is measured on few
packings their noise adds to it: ⟨(f̄ - target)²⟩ is (⟨f⟩ - target)² and the variance of f̄ (Zu
and Goodrich, Commun. Mater. 5 (2024), "systematic overestimation"). Here both are told apart.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge

from ...errors import DesignError, RecordError
from ...spread.teams import Team
from ...store.durable import write_json
from ...store.parts import Parts, begun
from ...store.row_files import write_table
from ..rows import compute_rows
from .campaign import Campaign
from .members import Order, fresh_value

__all__ = ["Validated", "read_validations", "summary", "validate"]

# Random numbers of validation packings: design steps that no design reaches.
FIRST_NUMBER = 2**32 - 1
RESAMPLES = 2000


@dataclass(frozen=True)
class Validated:
    """The mean over fresh packings, by objective.

    Attributes
    ----------
    step:
        After which step of the design.
    n_particles, packings, failed:
        The packings' size and number, and how many of them could not be measured.
    value, error:
        Means and their standard errors.
    interval:
        95 % intervals of the means, by bootstrap, as the values' tails are long.
    loss:
        Σ w [(⟨f⟩ - target)² - error²]: without the noise's part; below 0 where the distance from
        the target is less than the noise.
    median:
        The values' medians: where tails are long, means are those of a few packings. Empty in what
        earlier versions wrote.
    outside, plain:
        How many packings have no part in the mean, since their value is not ``within`` what the
        objective says, and the mean with them; empty where no objective says it.
    """

    step: int
    n_particles: int
    packings: int
    failed: int
    value: tuple[float, ...]
    error: tuple[float, ...]
    interval: tuple[tuple[float, float], ...]
    loss: float
    median: tuple[float, ...] = ()
    outside: tuple[int, ...] = ()
    plain: tuple[float, ...] = ()


def summary(
    values: NDArray[np.float64],
    target: Sequence[float],
    weight: Sequence[float],
    counted: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    """What `Validated` has of values (R, n_objectives), those that have a part in the means.

    Raises `DesignError` where fewer than two have.
    """
    which = np.ones(values.shape, dtype=bool) if counted is None else counted
    parts = [v[w] for v, w in zip(values.T, which.T, strict=True)]
    least = min(len(part) for part in parts)
    if least < 2:
        raise DesignError(f"{least} of {len(values)} packings are within what an objective says.")
    mean = np.array([part.mean() for part in parts])
    error = np.array([part.std(ddof=1) / np.sqrt(len(part)) for part in parts])
    interval = np.stack([_interval(part) for part in parts])
    loss = float(np.sum(np.asarray(weight) * ((mean - np.asarray(target)) ** 2 - error**2)))
    return {
        "value": tuple(mean.tolist()),
        "error": tuple(error.tolist()),
        "interval": tuple((float(a), float(b)) for a, b in interval),
        "loss": loss,
        "median": tuple(np.median(values, axis=0).tolist()),
        "outside": () if counted is None else tuple((~counted).sum(axis=0).tolist()),
        "plain": () if counted is None else tuple(values.mean(axis=0).tolist()),
    }


def _interval(values: NDArray[np.float64]) -> NDArray[np.float64]:
    drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    out: NDArray[np.float64] = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return out


def validate(
    directory: Path,
    campaign: Campaign,
    number: int,
    step: int,
    theta: bridge.PairPotential,
    ranks: Team,
    progress: Callable[[int, int], object] = lambda done, total: None,
    *,
    name: str = "the validation",
) -> Validated:
    """Run the campaign's validation of a number at some parameters, or go on with it.

    The packings' values go to ``validation-NUMBER-STEP.csv`` in the directory, and are kept beside
    it while they are computed; what comes out of them is added to ``validation.json``.

    `name` is what `StoppedError` calls it, where the run is to stop meanwhile. Raises `DesignError`
    where fewer than two packings could be measured.
    """
    settings = campaign.validation[number]
    table = directory / f"validation-{number}-{step}.csv"
    for known in read_validations(directory):
        if (known.step, known.n_particles, known.packings) == _which(campaign, number, step):
            return known
    preparation = campaign.preparation
    if settings.n_particles is not None:
        preparation = preparation.model_copy(update={"n_particles": settings.n_particles})
    order = Order(
        campaign.model_copy(update={"preparation": preparation}), theta, theta, FIRST_NUMBER
    )
    names = _columns(campaign)
    header = {
        "step": step,
        "validation": settings.model_dump(),
        "parameters": {k: v.tolist() for k, v in theta.arrays().items()},
    }
    with Parts(table, header, resume=begun(table)) as parts:
        compute_rows(parts, _row, order, range(settings.packings), ranks, name, progress)
        write_table(parts.rows, table)
        rows = [row for several in parts.rows() for row in several]
        measured = [row for row in rows if not row["failure"]]
        if len(measured) < 2:
            why = next(row["failure"] for row in rows if row["failure"])
            parts.remove()
            raise DesignError(
                f"validation at step {step}: {len(measured)} of {len(rows)} packings could be "
                f"measured, and an error needs two at least. The first failed because of {why}"
            )
        values = np.array([[row[n] for n in names] for row in measured])
        windowed = any(o.within is not None for o in campaign.objective)
        result = Validated(
            *_which(campaign, number, step),
            failed=len(rows) - len(measured),
            **summary(
                values,
                [o.target for o in campaign.objective],
                [o.weight for o in campaign.objective],
                campaign.counted(values) if windowed else None,
            ),
        )
        write_json(
            directory / "validation.json",
            {"validations": [asdict(v) for v in (*read_validations(directory), result)]},
        )
        parts.remove()
    return result


def _columns(campaign: Campaign) -> list[str]:
    return [f"{k}:{o.feature}" for k, o in enumerate(campaign.objective)]


def _row(order: Order, replica: int) -> dict[str, Any]:
    value, failure = fresh_value(order, replica)
    columns = dict(zip(_columns(order.campaign), value, strict=True))
    return {"packing": replica, **columns, "failure": failure}


def _which(campaign: Campaign, number: int, step: int) -> tuple[int, int, int]:
    settings = campaign.validation[number]
    assert campaign.preparation.n_particles is not None
    n_particles = settings.n_particles or campaign.preparation.n_particles
    return step, n_particles, settings.packings


def read_validations(directory: Path) -> Iterator[Validated]:
    """The validations in ``validation.json`` of a design's directory, as they were computed.

    Raises `RecordError` if it is damaged.
    """
    path = directory / "validation.json"
    if not path.exists():
        return
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["validations"]
        for entry in entries:
            entry["interval"] = tuple((low, high) for low, high in entry["interval"])
        found = [Validated(**entry) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(
            f"{path}: is not what a run writes ({error}). Remove it, and resume the run: fresh "
            "packings are measured anew."
        ) from error
    yield from found
