"""amorph respond: what the packings of a file can be tuned to, and one step to a change."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from amorph import bridge, ensemble
from amorph.campaigns.cli import app
from amorph.campaigns.studies.respond.files import respond_to_file, wanted_changes
from amorph.handover import InputError, OutputExistsError

THETA = bridge.SoftSphere(diameters=[0.8, 1.2], stiffness=1.0)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("respond") / "packings.gsd"
    ensemble.quench(
        THETA, n_particles=50, density=1.1, dimension=2, pressure=0.1, seed=4, tolerance=1e-13
    ).write(path)
    return path


def test_a_step_to_a_small_change_is_reached(file: Path, tmp_path: Path) -> None:
    (found,) = respond_to_file(
        file,
        tmp_path / "out",
        features=["elastic_constants"],
        parameters=["diameters"],
        species=8,
        change=wanted_changes(["elastic_constants[0]=+0.001%", "elastic_constants[5]=-1e-6"]),
    )
    assert found["rank"] == 6
    assert found["fully_independent"]
    change = found["change"]
    assert change["wanted"][0] == pytest.approx(1e-5 * found["values"][0])
    assert change["wanted"][5] == -1e-6
    np.testing.assert_allclose(change["predicted"], change["wanted"], atol=1e-12)
    np.testing.assert_allclose(change["reached"], change["wanted"], rtol=0.02, atol=3e-8)
    # The file it leaves has it too.
    ((theta, packing),) = bridge.read_gsd(tmp_path / "out" / "changed.gsd")
    there = bridge.measure(theta, bridge.relax(theta, packing), ["elastic_constants"]).values
    np.testing.assert_allclose(
        np.asarray(there["elastic_constants"]) - found["values"], change["reached"], atol=1e-9
    )
    assert found["reach"]["ended"][0] < found["reach"]["ended"][1]
    kept = json.loads((tmp_path / "out" / "responses.json").read_text())["packings"]
    assert kept[0]["susceptibilities"] == found["susceptibilities"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "fully independent" in page
    assert "No picture" not in page
    assert (tmp_path / "out" / "figures" / "modes-0.png").exists()
    with pytest.raises(OutputExistsError, match="in use"):
        respond_to_file(file, tmp_path / "out", features=["pressure"])


def test_the_command_says_what_can_be_tuned(file: Path, tmp_path: Path) -> None:
    arguments = ["respond", str(file), "-o", str(tmp_path / "x"), "--features", "stress_components"]
    result = CliRunner().invoke(app, [*arguments, "--parameters", "diameters"])
    assert result.exit_code == 0, result.output
    assert "2 of 3 components can be tuned apart by 2 parameters (fully" in result.output


def test_by_bonds_nothing_is_followed(file: Path, tmp_path: Path) -> None:
    (found,) = respond_to_file(
        file, tmp_path / "out", features=["pressure"], parameters=["stiffness/bond"]
    )
    assert found["rank"] == 1
    assert "reach" not in found


@pytest.mark.parametrize(
    ("change", "told"),
    [("pressure", "write which"), ("pressure=much", "write which"), ("stress=1", "no component")],
)
def test_changes_that_cannot_be(file: Path, tmp_path: Path, change: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        respond_to_file(
            file, tmp_path / "out", features=["pressure"], change=wanted_changes([change])
        )
