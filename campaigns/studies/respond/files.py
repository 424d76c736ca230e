"""What the packings of a file can be tuned to: responses, one step to a change, and a page."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amorph import bridge
from amorph.bridge.matter.files import frame_of
from amorph.bridge.sensitivity.measuring import row_values
from amorph.handover import AmorphError, InputError, write_gsd
from amorph.handover.arguments import file_path

from ... import pictures
from ...inputs.formats import read_trajectory
from ...report import html
from ...report.output import Output, write
from ...store.directories import check_new
from ...store.durable import write_json
from .systems import in_species

__all__ = ["Wanted", "respond_to_file", "wanted_changes"]

Array = NDArray[np.float64]

# Design modes that are drawn, at most.
MOST_DRAWN = 6


@dataclass(frozen=True)
class Wanted:
    """A change that is asked for: of a component of a feature, by so much, or by a part of it."""

    component: str
    by: float
    relative: bool


def wanted_changes(parts: Sequence[str]) -> list[Wanted]:
    """Changes as ``elastic_constants[0]=+5%`` and ``pressure=-0.01``; raises `InputError`."""
    out = []
    for part in parts:
        found = re.fullmatch(r"\s*([^=]+?)\s*=\s*([-+0-9.eE]+)\s*(%?)\s*", part)
        try:
            if found is None:
                raise ValueError
            value = float(found[2])
        except ValueError:
            raise InputError(
                f"--change {part.strip()!r}: write which component of a feature is to change by "
                "how much, elastic_constants[0]=+5% or pressure=-0.01; commas divide several."
            ) from None
        out.append(Wanted(found[1], value / 100 if found[3] else value, bool(found[3])))
    return out


def respond_to_file(
    path: str | PathLike[str],
    directory: str | PathLike[str],
    *,
    features: Sequence[str],
    parameters: Sequence[str] | None = None,
    frames: slice | None = None,
    theta: bridge.Theta | None = None,
    types: Sequence[str] | None = None,
    species: int | None = None,
    relative: bool = False,
    degenerate: str = "raise",
    change: Sequence[Wanted] = (),
    reach: bool = True,
    progress: Callable[[int], object] = lambda done: None,
) -> list[dict[str, Any]]:
    """Find which features of a file's packings can be tuned by which parameters, and how far.

    Writes into `directory`, which must be new or empty: ``responses.json``, ``report.html`` with
    its ``figures``, and with `change` also ``changed.gsd``, the packings after one step to it.

    Parameters
    ----------
    path, frames, theta, types:
        The packings, as `amorph.campaigns.read_trajectory` reads them.
    features, parameters, relative, degenerate:
        As `amorph.bridge.independence` has them; by default all parameters.
    species:
        Particles are assigned anew to so many species of their own type.
    change:
        What is to change; all other components are to stay.
    reach:
        Whether to follow the packings along the change, or the most susceptible mode, to where
        linear response ends.
    progress:
        Told how many packings are done.

    Returns what ``responses.json`` has of each packing; one that fails has ``failure`` alone.

    Raises `OutputExistsError` for a directory in use, `InputError` for what the file's packings do
    not have, else as `read_trajectory` does.

    Example
    -------
    >>> respond_to_file("packings.gsd", "respond", features=["elastic_constants"])
    """
    root = file_path("directory", directory)
    check_new(root)
    output = Output(root)
    out: list[dict[str, Any]] = []
    body = [f"<h1>{escape(str(path))}</h1>", "<p class='sub'>Which features can be tuned apart</p>"]
    changed = []
    for number, (read, packing) in enumerate(
        read_trajectory(path, frames, theta=theta, types=types)
    ):
        try:
            told, shown, after = _responded(
                read, packing, number, features, parameters, species, relative, degenerate,
                change, reach, output,
            )  # fmt: skip
        except InputError:
            raise
        except AmorphError as error:
            failure = f"{type(error).__name__}: {error}"
            told, shown, after = {"failure": failure}, [html.problem(failure)], None
        out.append({"packing": number, **told})
        body += [f"<h2>Packing {number}</h2>", *shown]
        if after is not None:
            changed.append(after)
        progress(number + 1)
    write_json(root / "responses.json", {"file": str(path), "packings": out})
    if changed:
        write_gsd(root / "changed.gsd", changed)
    page = html.document(f"Amorph: {path}", body)
    write(root / "report.html", page.encode("utf-8"))
    return out


def _responded(
    theta: bridge.Theta,
    packing: bridge.Packing,
    number: int,
    features: Sequence[str],
    parameters: Sequence[str] | None,
    species: int | None,
    relative: bool,
    degenerate: str,
    change: Sequence[Wanted],
    reach: bool,
    output: Output,
) -> tuple[dict[str, Any], list[str], Any]:
    """A packing's response: for JSON, for the page, and the frame after a step."""
    packing = bridge.relax(theta, packing)
    if species is not None:
        if not isinstance(theta, bridge.PairPotential):
            raise InputError("--species is for pair potentials without springs.")
        theta, packing = in_species(theta, packing, species, (0, number))
    found = bridge.independence(
        theta, packing, list(features), None if parameters is None else list(parameters),
        relative=relative, degenerate=degenerate,
    )  # fmt: skip
    jacobian = found.jacobian
    values = row_values(jacobian.values, jacobian.features)
    told: dict[str, Any] = {
        "rank": found.rank,
        "fully_independent": found.fully_independent,
        "rows": list(jacobian.rows),
        "columns": list(jacobian.columns),
        "values": values.tolist(),
        "jacobian": jacobian.matrix.tolist(),
        "feature_units": found.feature_units.tolist(),
        "parameter_units": found.parameter_units.tolist(),
        "susceptibilities": found.susceptibilities.tolist(),
        "feature_strains": found.left.T.tolist(),
        "design_modes": found.right.tolist(),
        "error": found.error,
        "margin": found.margin,
    }
    shown = _shown(found, values)
    follows = all(name in theta.arrays() for name in jacobian.choices)
    after = None
    along, direction = "mode 0", found.right[0] * found.parameter_units * (found.rank > 0)
    if change:
        told["change"], after = _step(theta, packing, found, values, change, follows)
        shown += _shown_step(told["change"])
        along, direction = "the change", np.asarray(told["change"]["parameters"])
    if follows:
        if reach and direction.any():
            told["reach"] = _reach(theta, packing, found, direction)
            shown += _shown_reach(told["reach"], along)
        shown += _drawn(theta, packing, found, number, output)
    return told, shown, after


def _step(
    theta: bridge.Theta,
    packing: bridge.Packing,
    found: bridge.Independence,
    values: Array,
    change: Sequence[Wanted],
    follows: bool,
) -> tuple[dict[str, Any], Any]:
    """One step to a wanted change: what it was to bring, and what it brought."""
    rows = list(found.jacobian.rows)
    wanted = np.zeros(len(rows))
    for one in change:
        if one.component not in rows:
            raise InputError(
                f"--change: there is no component {one.component!r} here: there are "
                f"{', '.join(rows)}."
            )
        k = rows.index(one.component)
        wanted[k] = one.by * abs(values[k]) if one.relative else one.by
    step = found.change(wanted)
    told: dict[str, Any] = {
        "wanted": wanted.tolist(),
        "parameters": step.tolist(),
        "predicted": found.reached(step).tolist(),
    }
    if not follows:
        return told, None
    arrays = theta.arrays()
    new = theta.replace(**{k: arrays[k] + v for k, v in found.by_choice(step).items()})
    followed = bridge.follow(theta, packing, new)
    there = bridge.measure(new, followed.packing, list(found.jacobian.features)).values
    told |= {
        "reached": (row_values(there, found.jacobian.features) - values).tolist(),
        "rearranged": bool(followed.rearranged),
        "crossings": followed.crossings,
    }
    return told, frame_of(new, followed.packing)


def _reach(
    theta: bridge.Theta, packing: bridge.Packing, found: bridge.Independence, direction: Array
) -> dict[str, Any]:
    length = float(np.linalg.norm(direction / found.parameter_units))
    reach = bridge.linear_reach(
        theta, packing, list(found.jacobian.features), found.by_choice(direction / length),
        units=found.feature_units,
    )  # fmt: skip
    return {
        "length": length,
        "gamma": reach.gamma.tolist(),
        "measured": np.linalg.norm(reach.measured, axis=1).tolist(),
        "slope": float(np.linalg.norm(reach.slope)),
        "second_order_end": reach.predicted_end,
        "rearranged": reach.rearranged,
        "crossed": reach.crossed,
        "ended": reach.ended,
        "tunability": reach.tunability,
        "stopped": reach.stopped,
    }


def _shown(found: bridge.Independence, values: Array) -> list[str]:
    """What can be tuned, as a sentence and tables."""
    jacobian = found.jacobian
    how = "fully" if found.fully_independent else "partially"
    lines = [
        f"<p>{found.rank} of {len(jacobian.rows)} components of features can be tuned apart by "
        f"{len(jacobian.columns)} parameters: {how} independent. The least that counts is "
        f"{html.number(found.margin, '.2g')} times its uncertainty.</p>",
        html.table(
            ("component", "value", "in units of"),
            [
                (escape(name), html.number(float(v)), html.number(float(u)))
                for name, v, u in zip(jacobian.rows, values, found.feature_units, strict=True)
            ],
        ),
    ]
    head = ("mode", "susceptibility", "feature strain", "parameters that change most")
    rows = []
    for k, s in enumerate(found.susceptibilities):
        if k >= found.rank:
            rows.append((str(k), f"{s:.2g} (round-off)", "–", "–"))
            continue
        strain = _largest(found.left[:, k], jacobian.rows)
        rows.append(
            (str(k), html.number(float(s)), strain, _largest(found.right[k], jacobian.columns))
        )
    return [*lines, html.table(head, rows)]


def _largest(vector: Array, names: Sequence[str]) -> str:
    """The components of a vector that make nine tenths of it, at most five."""
    order = np.argsort(-np.abs(vector))
    share = np.cumsum(vector[order] ** 2) / np.sum(vector**2)
    most = min(int(np.searchsorted(share, 0.9)) + 1, 5)
    return ", ".join(f"{escape(names[k])} {vector[k]:+.2f}" for k in order[:most])


def _shown_step(step: Mapping[str, Any]) -> list[str]:
    lines = ["<h3>One step to the change</h3>"]
    off = ", ".join(f"{x:.4g}" for x in step["predicted"])
    asked = ", ".join(f"{x:.4g}" for x in step["wanted"])
    lines.append(f"<p>Asked for: {asked}. By linear response: {off}.")
    if "reached" in step:
        reached = ", ".join(f"{x:.4g}" for x in step["reached"])
        lines[-1] += f" Reached: {reached}; {step['crossings']} pairs crossed a jump of u″"
        lines[-1] += ", and the packing rearranged." if step["rearranged"] else "."
    lines[-1] += "</p>"
    return lines


def _shown_reach(reach: Mapping[str, Any], along: str) -> list[str]:
    def told(value: Any) -> str:
        if value is None:
            return "–"
        return f"{value[0]:.3g} to {value[1]:.3g}" if isinstance(value, tuple) else f"{value:.3g}"

    return [
        f"<h3>How far linear response carries along {along}</h3>",
        html.table(
            (
                "length of the step",
                "γ̃ (second order)",
                "first crossing",
                "γ_r (rearranged)",
                "γ*",
                "ζ",
            ),
            [
                (
                    told(reach["length"]),
                    told(reach["second_order_end"]),
                    told(reach["crossed"]),
                    told(reach["rearranged"]),
                    told(reach["ended"]),
                    told(reach["tunability"]),
                )
            ],
        ),
    ]


def _drawn(
    theta: bridge.Theta,
    packing: bridge.Packing,
    found: bridge.Independence,
    number: int,
    output: Output,
) -> list[str]:
    """The relevant design modes on the packing: what sizes change, and how particles move."""
    if theta.near is None or "diameters" not in theta.arrays() or not found.rank:
        return []
    values, arrows, titles = [], [], []
    for k in range(min(found.rank, MOST_DRAWN)):
        named = found.mode(k)
        sizes = named.get("diameters", np.zeros(theta.near.n_types))
        values.append(sizes[packing.typeid])
        arrows.append(bridge.second_order(theta, packing, "energy", named).displacement)
        titles.append(f"mode {k}: s = {found.susceptibilities[k]:.3g}")
    nothing = np.zeros(0)
    view = pictures.View(
        positions=np.asarray(packing.positions),
        typeid=np.asarray(packing.typeid),
        types=(),
        diameters=np.asarray(theta.near.diameters),
        box=packing.box,
        pairs=np.zeros((0, 2), dtype=np.int32),
        vector=np.zeros((0, packing.dimension)),
        force=nothing,
        bulk=nothing,
        shear=nothing,
    )
    caption = (
        "The most relevant design modes: particles that grow are red, those that shrink blue (to "
        "the largest change in each), and arrows are how particles move in answer, not to scale."
    )
    return html.guarded(
        output,
        f"modes-{number}",
        lambda: pictures.modes(view, values, arrows, titles),
        caption,
    )
