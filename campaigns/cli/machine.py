"""The commands on what there is: ``features`` and ``doctor``."""

import json
from typing import Annotated

import typer

from .options import Plugins
from .terminal import say, say_table


def features(
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List all features, those of plug-ins too, and the families of them.

    Arithmetic of them is one too: "bulk_modulus / shear_modulus", "elastic_constants[0] * 2".
    """
    from ..spread.starting import start_jax

    start_jax()
    from ..inputs.plugins import load_plugins, run_installed
    from .listing import feature_rows

    run_installed()
    load_plugins(plugin or ())
    rows = feature_rows()
    if as_json:
        say(json.dumps({"features": rows}, indent=1, ensure_ascii=False))
        return
    columns = ("name", "symbol", "dimensions", "units", "gradient", "source")
    say_table(columns, (), [tuple(str(row[c]) for c in columns) for row in rows])


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Tell what this machine offers, and how to get what is missing."""
    from .doctor import report as examined

    found = examined()
    if as_json:
        say(json.dumps(found, indent=1))
    else:
        marks = {True: "✓", False: "✗", None: "·"}
        say_table(
            ("", "what", "found", "how to get it"),
            (),
            [
                (
                    marks[True if f["present"] else False if f["needed"] else None],
                    *(str(f[key]) for key in ("what", "detail", "cure")),
                )
                for f in found["findings"]
            ],
        )
    if not found["ok"]:
        raise typer.Exit(1)
