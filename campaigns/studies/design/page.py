"""The page: its sections and tables, for one design or for many."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from amorph.handover import AmorphError, Frame

from ...pictures import View, bonds, packings
from ...report.html import STATUS, badge, guarded, number, table
from ...report.output import Output
from ..study import UNFINISHED
from . import pictures
from .confirming import signed
from .entries import WHY_UNFINISHED, Entry, choose, last_packing, tried_history, views_of
from .history import History
from .localisation import localisation
from .steps import PACES

# Up to how many designs an overview shows.
MAX_OVERVIEW = 4


def single_page(entry: Entry, output: Output) -> list[str]:
    """The body of the page on one design."""
    title = f"Design of {_spoken(entry.feature)}"
    return [
        f"<h1>{escape(title)}</h1>",
        f"<p class='sub'>{escape(str(entry.outcome.get('name') or entry.name))}</p>",
        *_design_section(entry, output, ""),
        *_how_to_read("run.gsd"),
    ]


def many_page(root: Path, entries: Sequence[Entry], output: Output) -> list[str]:
    """The body of the page on several designs."""
    chosen = choose(entries)
    # A running design's record is only in its frames; a finished one's is read where it is shown.
    entries = [
        tried_history(e) if e.name in chosen or e.status in UNFINISHED else e for e in entries
    ]
    counts = {s: sum(e.status == s for e in entries) for s in STATUS}
    said = ", ".join(f"{n} {STATUS[s]}" for s, n in counts.items() if n)
    out = [
        f"<h1>{escape(root.resolve().name)}: {len(entries)} designs</h1>",
        f"<p>Designs of {escape(_spoken(entries[0].feature))}: {escape(said)}.</p>",
        _index(entries, chosen),
    ]
    ended = [e for e in entries if e.status not in UNFINISHED]
    shown = [e for e in entries if e.name in chosen]
    readable = [e.history for e in shown if e.history is not None]
    if len(entries) <= MAX_OVERVIEW and len(readable) == len(shown):
        out += guarded(
            output,
            "overview",
            lambda: pictures.overview([(h, *views_of(h)) for h in readable]),
            "The designs at a glance: the property against the design step, and the packing "
            "before and after with its forces.",
        )
    out += _sweep_sections(output, ended)
    out += _paths_section(output, shown)
    if len(chosen) < len(entries):
        out.append(
            f"<p class='note'>Of the {len(entries)} designs, {len(chosen)} are shown below: the "
            "best and the worst. <code>amorph report</code> on a design's own directory shows any "
            "other.</p>"
        )
    for entry in shown:
        out.append(f"<h2 id='{escape(entry.name)}'>{escape(_name_of(entry))}</h2>")
        out += _design_section(entry, output, chosen[entry.name])
    return out + _how_to_read(f"{shown[0].name}/run.gsd")


def _sweep_sections(output: Output, ended: Sequence[Entry]) -> list[str]:
    """The sections on all designs of a sweep together."""
    out: list[str] = []
    designs = [e.told() for e in ended]
    if any(e.outcome.get("kind") != "ensemble" for e in ended) and len(ended) > len(
        {e.target for e in ended}
    ):
        out += guarded(
            output,
            "success",
            lambda: pictures.success(designs),
            "Left: the fraction of designs that reached each target (loss below the stop "
            f"threshold{_of(ended[0].threshold)} within the step limit, and there under a tenth of "
            "the last step on and back), with Wilson's 68 % interval; the shaded band is what the "
            "packings had before the design. Right: the steps that the successful ones took; one "
            "that was at its target from the start took 0.",
        )
    if any(d["validations"] for d in designs):
        two = all(len(e.target) == 2 for e in ended)
        draw = pictures.validated_pairs if two else pictures.validated
        out += guarded(
            output,
            "validated",
            lambda: draw(designs),
            "Means over fresh packings, prepared with the parameters that each design ended with, "
            "at its target; 95 % intervals by bootstrap, at one place the shorter thicker.",
        )
    reached = [e for e in ended if e.status == "converged" and len(e.target) == 1]
    reached = [e for e in reached if e.outcome.get("kind") == "individual"]
    if len({e.target for e in reached}) > 1:
        out += guarded(
            output,
            "localised",
            lambda: pictures.localised(
                [e.target[0] for e in reached],
                [localisation(*last_packing(e)) for e in reached],
                reached[0].feature[0],
            ),
            "Of the packings that reached their target, the contributions of their pairs to the "
            "moduli. Left: the part of the pairs that take part, (Σ|x|)² / (M Σx²). Right: over "
            "how much of the box they are spread, by their squares. Lines join the medians.",
        )
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for d in designs:
        if d.get("components") and (d["kind"] == "ensemble" or d["status"] == "converged"):
            groups.setdefault(str(d["components"]), []).append(d)
    for k, group in enumerate(groups.values()):
        if len(group) > 1:
            out += guarded(
                output,
                "trained" + (f"-{k}" if len(groups) > 1 else ""),
                partial(pictures.trained, group),
                "The parameters that the designs ended with, against their targets; lines join the "
                "medians. Of packings that were followed, those that reached their target.",
            )
    return out


def _paths_section(output: Output, shown: Sequence[Entry]) -> list[str]:
    """The ways of several ensemble designs to one target, as far as they can be read."""
    told = [(e, e.history) for e in shown if e.history is not None]
    alike = {(e.target, str(e.outcome.get("components"))) for e, _ in told}
    ensembles = all(e.outcome.get("kind") == "ensemble" for e, _ in told)
    if len(told) < 2 or len(alike) > 1 or not ensembles:
        return []
    return guarded(
        output,
        "paths",
        lambda: pictures.paths([history for _, history in told]),
        "The parameters of the designs shown below at each step, all to one target; a line each.",
    )


def _of(threshold: float | None) -> str:
    return "" if threshold is None else f" of {number(threshold, '.4g')}"


def _spoken(features: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(features))


def _name_of(entry: Entry) -> str:
    aims = ", ".join(
        f"{name} → {target:g}" for name, target in zip(entry.feature, entry.target, strict=True)
    )
    return f"{aims} ({entry.name})"


def _listed(values: Iterable[float]) -> str:
    return ", ".join(number(v, ".5g") for v in values) or "–"


def _index(entries: Sequence[Entry], chosen: Mapping[str, str]) -> str:
    rows = []
    for e in entries:
        name = escape(e.name)
        rows.append(
            (
                f"<a href='#{name}'>{name}</a>" if e.name in chosen else name,
                _listed(e.target),
                _listed(e.initial),
                _listed(e.final),
                str(e.steps),
                e.count("rearrangements"),
                e.count("crossings"),
                badge(e.status),
            )
        )
    head = (
        "design",
        "target",
        "initial",
        "final",
        "steps",
        "rearrangements",
        "pair crossings",
        "status",
    )
    return table(head, rows, "index")


def _design_section(entry: Entry, output: Output, why: str) -> list[str]:
    """All about one design: tables and pictures."""
    out: list[str] = []
    if why:
        out.append(f"<p class='note'>Shown as one {escape(why)}.</p>")
    history = entry.history
    if entry.status in UNFINISHED:
        out.append(
            f"<p class='problem'>This run is unfinished: {WHY_UNFINISHED[entry.status]}. Below is "
            "what it has published; <code>amorph run CAMPAIGN.toml -o DIR --resume</code> goes on "
            "with it.</p>"
        )
    message = str(entry.outcome.get("message") or "")
    if message:
        out.append(f"<p class='problem'>{escape(message)}</p>")
    if history is None:
        return [*out, f"<p class='problem'>{escape(entry.problem)}</p>"]
    out += [_sentence(entry, history), _asked(history), _facts(entry, history)]
    folder = "" if output.directory == entry.directory else f"{entry.name}/"
    out += guarded(
        output,
        f"{folder}trace",
        lambda: pictures.trace(history),
        "The loss Σ w (value − target)² and each objective's value against the design step. Dashed "
        "vertical lines mark rearrangements: there the minimum that was followed turned into a "
        "saddle, and the packing went to another one. The strip counts the pairs that crossed σ, "
        "r_on or r_cut, where u″ jumps, so that the moduli jump by O(1/N); the gradient is exact "
        "between such crossings.",
    )
    out += guarded(
        output,
        f"{folder}parameters",
        lambda: pictures.parameters(history),
        "The interaction parameters against the design step, by type and by pair of types (those "
        f"that the design changed), and the {PACES[history.paced_by]}.",
    )
    out.append(_parameter_table(history))
    try:
        before, after = views_of(history)
    except AmorphError as error:
        out.append(
            "<p class='problem'>The packing cannot be shown with its forces and bonds: "
            f"{escape(str(error))}</p>"
        )
        return out
    out += guarded(
        output,
        f"{folder}packings",
        lambda: packings(before, after),
        "The packing before and after the design, with its force network: the width of a line is "
        "proportional to the pair force, on one scale for both, and saturates at the strongest "
        "0.5 % of pairs; below 2 % of that none is drawn. Discs have the diameters of their types.",
    )
    out.append(_moduli_table(before, after))
    out += guarded(
        output,
        f"{folder}bonds",
        lambda: bonds(before, after),
        "What each pair contributes to the bulk modulus, b_ij, and to the shear modulus, g_ij; "
        "they sum to B and G. Colours and widths share one scale before and after, and saturate at "
        "the strongest 1 % of pairs. Right: their distributions; broad tails of b mean "
        "large positive and negative contributions that offset each other (compare Fig. 1e of Zu "
        "and Goodrich, “Designing athermal disordered solids with automatic differentiation”).",
    )
    return out


def _sentence(entry: Entry, history: History) -> str:
    """A sentence on what was done."""
    frame = history.first
    composition = np.bincount(frame.typeid, minlength=len(frame.types))
    mix = ", ".join(f"{n} {name}" for n, name in zip(composition, frame.types, strict=True))
    designed = [name for name in history.parameters if name in history.gradient]
    text = (
        f"{frame.n_particles} particles ({mix}) in {frame.dimension} dimensions"
        f"{_density(frame)}, potential {history.potential}; {history.n_steps} design "
        f"step{'' if history.n_steps == 1 else 's'}; designed: {', '.join(designed)}."
    )
    return f"<p>{badge(entry.status)} {escape(text)}</p>"


def _density(frame: Frame) -> str:
    if frame.box is None:
        return ""
    volume = float(np.prod(np.diagonal(frame.box)))
    return f", number density {frame.n_particles / volume:.4g}"


def _asked(history: History) -> str:
    rows = [
        (
            escape(name),
            number(history.target[k]),
            number(history.value[0, k]),
            number(history.value[-1, k]),
            number(history.value[-1, k] - history.target[k], ".3g"),
            number(history.weight[k]),
        )
        for k, name in enumerate(history.feature)
    ]
    return table(("asked for", "target", "initial", "final", "final − target", "weight"), rows)


def _facts(entry: Entry, history: History) -> str:
    jumps = history.step[history.rearranged]
    at = f" (at step{'s' if len(jumps) > 1 else ''} {', '.join(map(str, jumps[:12]))}" + (
        ", …)" if len(jumps) > 12 else ")"
    )
    crossed = int((history.crossings > 0).sum())
    rows: list[tuple[str, str]] = [
        ("steps", str(int(history.step[-1]))),
        ("initial loss", number(float(history.loss[0]), ".4g")),
        ("final loss", number(float(history.loss[-1]), ".4g")),
        ("stop below", "–" if history.threshold is None else number(history.threshold, ".4g")),
        *_held(entry),
        ("rearrangements", f"{len(jumps)}{at if len(jumps) else ''}"),
        ("pair crossings", f"{int(history.crossings.sum())}, in {crossed} of the steps"),
        ("largest displacement in a step", number(float(history.moved.max()), ".4g")),
    ]
    for key, name in (("seed", "seed"), ("replica", "replica"), ("seconds", "seconds taken")):
        if entry.outcome.get(key) is not None:
            rows.append((name, f"{entry.outcome[key]}"))
    return table(("", ""), [(escape(a), escape(b)) for a, b in rows], "facts")


def _held(entry: Entry) -> list[tuple[str, str]]:
    """Whether an end holds: the values at the probes, and where the next pair crosses."""
    found = entry.outcome.get("confirmation")
    if not found:
        return []
    part = found["probes"][0]["part"]
    of = found["along"]
    rows = [
        (
            f"held under ±{100 * part:.3g} % of {'' if of == 'all parameters' else 'the '}{of}",
            f"{'yes' if found['holds'] else 'no'}: "
            + "; ".join(
                f"{_values(p['value'])} at {signed(p['part'])}"
                + (f", {p['crossings']} crossed" if p["crossings"] else "")
                for p in found["probes"]
            ),
        )
    ]
    crossings = [p["next_crossing"] for p in found["probes"] if p["next_crossing"]]
    told = "; ".join(
        f"at {signed(c['part'])} of it, {_values(c['value'])} beyond" for c in crossings
    )
    if entry.outcome.get("kind", "individual") == "individual":
        rows.append(("next pair crossing", told or "none within a whole step"))
    if (below := int(entry.outcome.get("below") or 0)) > 1:
        rows.append(("steps with a loss below the threshold", str(below)))
    return rows


def _values(values: Sequence[float | None]) -> str:
    return ", ".join("–" if v is None else number(v, ".5g") for v in values)


def _parameter_table(history: History) -> str:
    rows = []
    for name, values in history.parameters.items():
        if name not in history.gradient and np.all(values == values[0, 0]):
            every = "all" if values.shape[1] > 1 else history.labels(name)[0]
            same = number(values[0, 0])
            rows.append((f"{escape(name)} <b>{escape(every)}</b>", same, same, "–", "not designed"))
            continue
        for k, label in enumerate(history.labels(name)):
            first, last = float(values[0, k]), float(values[-1, k])
            change = "–"
            if first != last:
                change = ("+" if last > first else "") + number(last - first, ".4g")
                if first != 0:
                    change += f" ({100 * (last - first) / first:+.1f} %)".replace("-", "−")
            slope = "not designed"
            if name in history.gradient:
                slope = number(float(history.gradient[name][-1, k]), ".3g")
            rows.append(
                (
                    f"{escape(name)} <b>{escape(label)}</b>",
                    number(first),
                    number(last),
                    change,
                    slope,
                )
            )
    head = ("parameter", "initial", "final", "change", "∂loss/∂parameter at the end")
    return table(head, rows)


def _moduli_table(before: View, after: View) -> str:
    def measured(view: View) -> tuple[float, ...]:
        assert view.box is not None  # `view_of` refuses a frame without one
        d = view.dimension
        bulk, shear = float(view.bulk.sum()), float(view.shear.sum())
        poisson = (d * bulk - 2 * shear) / (d * (d - 1) * bulk + 2 * shear)
        volume = float(np.prod(np.diagonal(view.box)))
        distance = np.linalg.norm(view.vector, axis=1)
        pressure = float(np.sum(view.force * distance)) / (d * volume)
        neighbours = 2 * int(np.sum(view.force > 0)) / len(view.positions)
        return bulk, shear, poisson, pressure, neighbours

    names = (
        "bulk modulus B",
        "shear modulus G",
        "Poisson's ratio ν",
        "pressure p",
        "repelling neighbours a particle",
    )
    rows = [
        (escape(name), number(old, ".5g"), number(new, ".5g"))
        for name, old, new in zip(names, measured(before), measured(after), strict=True)
    ]
    return table(("the packing", "before", "after"), rows)


def _how_to_read(path: str) -> list[str]:
    code = (
        "import gsd.hoomd\n"
        "from amorph import bridge\n"
        f'log = gsd.hoomd.read_log("{path}")  '
        '# log["log/amorph/loss"], log["log/amorph/value"], ...: a row a step\n'
        f'theta, packing = next(bridge.read_gsd("{path}", slice(-1, None)))  # the last step\n'
        "print(bridge.poisson_ratio(theta, bridge.relax(theta, packing)))"
    )
    return [
        "<h2>The data in Python</h2>",
        "<p>A frame of <code>run.gsd</code> is a design step, step 0 the starting packing. OVITO "
        "and other readers of GSD files open it too.</p>",
        f"<pre>{escape(code)}</pre>",
        "<p class='note'>All quantities are in reduced units, mass 1. The pictures stand beside "
        "this page in <code>figures/</code>.</p>",
    ]
