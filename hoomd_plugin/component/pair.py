"""Pair forces: the potentials of Amorph, in HOOMD-blue's shape.

Cutoffs and the XPLOR switch follow from the parameters: with ``mode="xplor"``, the default, the
force is that of `amorph.ensemble` and `amorph.bridge` to round-off. What is set in ``r_cut`` or
``r_on`` counts instead.

Every force logs its parameters and how they were used: cutoffs, mode, excluded neighbours, and what
acted besides it. In a GSD file `amorph.bridge` and ``amorph analyze`` find them, and refuse by name
what their potentials cannot be:

.. code-block:: python

    logger = hoomd.logging.Logger()
    logger.add(force)
    gsd = hoomd.write.GSD(trigger, "packing.gsd", logger=logger)
"""

import json
from pathlib import Path

from hoomd.amorph.formulas import (
    FormulaForce,
    FormulaForceWithoutSwitch,
    logged,
    nonnegative,
    positive,
)
from hoomd.amorph.table import Table

_LISTED = json.loads(Path(__file__).with_name("potentials.json").read_text(encoding="utf-8"))
# Parameters whose names the forces have for something else.
_SHOWN_AS = {"r_cut": "cutoff"}

_DOC = r"""{summary}

.. math::

    U(r) = {formula}

{source}

Args:
    nlist (hoomd.md.nlist.NeighborList): neighbour list.
    default_r_cut (float): for pairs whose ``r_cut`` is not set; by default {r_cut} of each pair
        :math:`[\mathrm{{length}}]`.{switch}

.. py:attribute:: params

    By pair of types: {parameters}.
"""
_SWITCH_DOC = r"""
    default_r_on (float): the same of ``r_on``; by default {r_on} :math:`[\mathrm{{length}}]`.
    mode (str): ``"xplor"``, ``"shift"`` or ``"none"``."""


def _distance(form, symbols):
    """A cutoff as the manifest has it, in words."""
    terms = [r"\sigma"] if form.get("sigma") else []
    terms += [f"{number:g}/{symbols[name]}" for name, number in form.get("over", {}).items()]
    terms += [
        symbols[name] if number == 1 else rf"{number:g}\,{symbols[name]}"
        for name, number in form.get("times", {}).items()
    ]
    return f":math:`{' + '.join(terms)}`"


def _described(own):
    symbols = {p["name"]: p["symbol"] for p in own["parameters"]}
    drawn = "" if own["core"] else ", a diameter to draw and to list, on which no force depends"
    listed = [f"``sigma`` (length{drawn})"]
    listed += [f"``{p['name']}`` :math:`{p['symbol']}` ({p['unit']})" for p in own["parameters"]]
    switch = ""
    if "r_on" in own:
        switch = _SWITCH_DOC.format(r_on=_distance(own["r_on"], symbols))
    return _DOC.format(
        **{name: own[name] for name in ("summary", "formula", "source")},
        r_cut=_distance(own["r_cut"], symbols),
        switch=switch,
        parameters=", ".join(listed),
    )


def _class_of(own):
    """The force of a potential in the list."""
    schema = {"sigma": positive}
    for parameter in own["parameters"]:
        schema[parameter["name"]] = nonnegative if parameter.get("zero") else positive
    names = [parameter["name"] for parameter in own["parameters"]]
    return type(
        own["class"],
        (FormulaForce if "r_on" in own else FormulaForceWithoutSwitch,),
        {
            "__doc__": _described(own),
            "__module__": __name__,
            "_potential": own["name"],
            "_has_core": own["core"],
            "_schema": schema,
            "_defaults": {} if own["core"] else {"sigma": 1.0},
            "diameters": logged("diameters"),
            **{
                _SHOWN_AS.get(name, name): logged(name, _SHOWN_AS.get(name, name)) for name in names
            },
        },
    )


_CLASSES = {own["class"]: _class_of(own) for own in _LISTED["potentials"]}
globals().update(_CLASSES)

__all__ = [*sorted(_CLASSES), "Table"]
