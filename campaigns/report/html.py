"""HTML of pages: tables, figures, numbers, and the whole page around them."""

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from amorph.handover import AmorphError, OutputError

from .output import Output

__all__ = ["badge", "document", "figure", "guarded", "number", "problem", "table", "value"]

STATUS = {
    "converged": "converged",
    "step_limit": "stopped at the step limit",
    "out_of_reach": "out of reach",
    "done": "done",
    "failed": "failed",
    "running": "unfinished",
    "stopped": "stopped",
}
"""The statuses of tasks, and the words a page has for them."""


def badge(status: str) -> str:
    """A status as a coloured label."""
    return f"<span class='badge {escape(status)}'>{escape(STATUS.get(status, status))}</span>"


def problem(text: str) -> str:
    """A paragraph on what is wrong."""
    return f"<p class='problem'>{escape(text)}</p>"


def value(given: Any) -> str:
    """A value of JSON in a cell."""
    if given is None:
        return "–"
    if isinstance(given, bool | str):
        return escape(str(given))
    if isinstance(given, int | float):
        return number(float(given))
    if isinstance(given, Sequence):
        return ", ".join(value(v) for v in given)
    return escape(str(given))


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, form: str = ".6g") -> str:
    """A number as the page has it: with a minus sign, and powers of ten where it needs them."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    power = int(np.floor(np.log10(abs(value)) + 1e-12))
    if -4 < power < 6:
        return f"{value:{form}}".replace("-", "−")
    lead = f"{value / 10.0**power:.3g}".replace("-", "−")
    mark = f"10{str(power).translate(_RAISED)}"
    return mark if lead == "1" else f"{lead}×{mark}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], css: str = "") -> str:
    """A table; cells are HTML already."""
    top = "".join(f"<th>{h}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return (
        f"<div class='scroll'><table class='{css}'><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def figure(address: str, caption: str) -> str:
    """A picture with its caption."""
    alt = escape(caption.split(":")[0].split(".")[0], quote=True)
    return (
        f"<figure><img alt='{alt}' src='{address}'>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def guarded(output: Output, name: str, make: Callable[[], Figure], caption: str) -> list[str]:
    """A picture with its caption; where a packing cannot be drawn, the reason in its place."""
    try:
        drawn = make()
    except OutputError:
        raise
    except AmorphError as error:
        return [f"<p class='problem'>No picture “{escape(name)}”: {escape(str(error))}</p>"]
    return [figure(output.picture(name, drawn), caption)]


_CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  color: #1d2530; background: #fff; max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; border-top: 1px solid #dde2e8;
  padding-top: 1.2rem; overflow-wrap: anywhere; }
.sub, .note { color: #5a6572; }
.sub { margin-top: 0; }
.problem { background: #fdf3e1; border-left: 4px solid #e69f00; padding: .5rem .9rem;
  overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { text-align: right; padding: .28rem .8rem; border-bottom: 1px solid #e6eaee; }
th { border-bottom: 1.5px solid #9aa5b1; font-weight: 600; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.facts thead { display: none; }
.facts td { text-align: left; }
.facts td:first-child { color: #5a6572; }
figure { margin: 1.6rem 0; }
img { max-width: 100%; height: auto; }
figcaption { color: #45505c; font-size: .9rem; max-width: 52rem; }
pre { background: #f5f7f9; padding: .9rem 1.1rem; overflow-x: auto; font-size: .88rem; }
.badge { border-radius: .8rem; padding: .08rem .65rem; font-size: .85rem; white-space: nowrap;
  background: #e6eaee; color: #1d2530; }
.badge.converged, .badge.done { background: #d3ece4; color: #00543d; }
.badge.failed { background: #f7dccb; color: #7a3300; }
.badge.step_limit, .badge.running, .badge.stopped { background: #fbebc8; color: #664700; }
.badge.out_of_reach { background: #fbebc8; color: #664700; }
"""


def document(title: str, body: Sequence[str]) -> str:
    """The whole page."""
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>{escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )
