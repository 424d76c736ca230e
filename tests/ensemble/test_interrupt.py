"""Ctrl-C ends a long quench within a second."""

import os
import signal
import subprocess
import sys
import time

import pytest

LONG = """
import sys
from amorph import ensemble

class Theta:
    potential = "harmonic_morse"
    def arrays(self):
        return {"diameters": [0.8, 1.0], "binding": 0.1, "stiffness": 5.0, "alpha": 6.0}

def say(done, total):
    print("running", flush=True)

try:
    ensemble.quench(Theta(), N, 1.6, 2, REPLICAS, seed=1, threads=2, progress=say, tolerance=1e-300,
                    max_steps=10**12)
except KeyboardInterrupt:
    sys.exit(17)
"""


@pytest.mark.parametrize(("n", "replicas"), [(96, 100_000), (20_000, 2)])
def test_interrupt(n: int, replicas: int) -> None:
    program = LONG.replace("REPLICAS", str(replicas)).replace("N,", f"{n},")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=os.path.dirname(__file__)
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"running\n"
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 17
        finally:
            process.kill()
    # A second on a free machine; others may be at work on this one.
    assert time.monotonic() - start < 3
