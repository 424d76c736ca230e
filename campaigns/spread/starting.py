"""Starting JAX for a command: its threads, its compiled code, and the errors where it fails."""

import os
import subprocess
import sys

from amorph.handover import AmorphError

from ..errors import JAXError
from .teams import Team

__all__ = ["check_xla_flags", "jax_on_one_thread", "start_jax", "variables"]

# Loads XLA alone, a fifth of what loading JAX takes.
_LOAD_XLA = "from jaxlib import xla_client; xla_client.make_cpu_client()"


def jax_on_one_thread() -> None:
    """Let JAX compute on one thread of the CPU, here and in workers; to be called before JAX loads.

    How XLA divides its work, and with it the last bits of results, depends on its number of
    threads; packings are spread over processes instead. A process that has imported JAX is left
    as it is: then its workers have as many threads as it has itself. Where the user has chosen
    (NPROC, JAX_PLATFORMS), that stands.
    """
    if "jax" not in sys.modules:
        os.environ.setdefault("NPROC", "1")
        os.environ.setdefault("JAX_PLATFORMS", "cpu")


def start_jax(ranks: Team | None = None, *, one_thread: bool = False) -> None:
    """Load JAX for a command, with the compiled code that is kept (`amorph.bridge.keep_compiled`).

    A process that has loaded it already is left as it is. With `ranks`, all of them call this:
    where it fails on any, all end, and the root says so once.

    Raises `JAXError` where JAX cannot compute, with the variables that may be why.
    """
    if ranks is not None:
        ranks.agree(None)  # on an interrupt while they came together
    try:
        _started(one_thread)
        error = None
    except AmorphError as failure:
        error = failure
    if ranks is not None:
        ranks.agree(error)
    elif error is not None:
        raise error


def _started(one_thread: bool) -> None:
    if "jax" in sys.modules:
        return
    if one_thread:
        jax_on_one_thread()
    check_xla_flags()
    try:
        import jax

        jax.devices()
    except Exception as error:  # JAX, its plugins and drivers raise errors of any class
        raise JAXError(
            f"JAX cannot compute here ({_said(error)}). {_cure()}, and try again; `amorph doctor` "
            "tells what is there."
        ) from error
    from amorph import bridge

    bridge.keep_compiled()


def check_xla_flags() -> None:
    """Raise `JAXError` for flags in XLA_FLAGS that XLA does not know: it would end the process."""
    if not os.environ.get("XLA_FLAGS"):
        return
    tried = subprocess.run(
        [sys.executable, "-c", _LOAD_XLA], capture_output=True, text=True, errors="replace"
    )
    for line in tried.stderr.splitlines():
        if "XLA_FLAGS" in line:
            told = line.partition("] ")[2] or line
            raise JAXError(
                f"XLA refuses XLA_FLAGS={os.environ['XLA_FLAGS']}: {told}. Take out what this "
                "version does not know."
            )


def _said(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def variables() -> list[str]:
    """The environment's settings of JAX, as NAME=VALUE, but for where compiled code is kept."""
    told = sorted(
        name
        for name in os.environ
        if name.startswith(("JAX_", "XLA_", "CUDA_"))
        and not name.startswith(("JAX_COMPILATION_", "JAX_PERSISTENT_"))
    )
    return [f"{name}={os.environ[name]}" for name in told]


def _cure() -> str:
    wanted = os.environ.get("JAX_PLATFORMS")
    if wanted not in (None, "", "cpu"):
        return (
            f"The environment has JAX_PLATFORMS={wanted}: unset it, set it to cpu, or install what "
            "JAX needs for it"
        )
    told = [v for v in variables() if v != "JAX_PLATFORMS=cpu"]
    if told:
        return f"The environment has {', '.join(told)}: unset what should not be there"
    return "Install JAX anew (pip install --force-reinstall jax jaxlib)"
