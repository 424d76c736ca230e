"""The command line ``amorph``: a module for each group of its commands."""

from . import machine, packings, runs
from .application import app, main

__all__ = ["app", "main"]

# In the order in which `amorph --help` lists them.
app.command(short_help="Quench two packings, design their Poisson's ratio, report.")(runs.demo)
app.command(short_help="Prepare an ensemble of packings from a file.")(packings.prepare)
app.command(short_help="Relax and measure every frame of trajectories.")(packings.analyze)
app.command(short_help="Tell what packings can be tuned to, and how far.")(packings.respond)
app.command()(runs.run)
app.command(short_help="Cut bonds of networks until they have what is wanted.")(runs.prune)
app.command(short_help="Find saddles around packings, and raise barriers.")(runs.barriers)
app.command(short_help="Check gradients against finite changes of parameters.")(runs.gradient)
app.command(short_help="Tell how far a run is, while it runs or afterwards.")(runs.status)
app.command(short_help="Make pictures and a page from a run directory.")(runs.report)
app.command(short_help="List what packings can be measured and designed by.")(machine.features)
app.command(short_help="Tell what this machine offers, and what is missing.")(machine.doctor)
