"""Springs in preparation files: listed, made within a distance, or a file's own."""

from pathlib import Path

import numpy as np
import pytest

from amorph import ensemble
from amorph.campaigns.errors import CampaignFileError
from amorph.campaigns.studies.files import load_preparation
from amorph.campaigns.studies.preparing import prepare_ensemble, prepare_to_gsd
from amorph.handover import read_gsd

CHAIN = """
[potential]
kind = "soft_sphere"
diameters = [1.0]
stiffness = 1.0
[bonds]
pairs = [[0, 1], [1, 2], [2, 3]]
stiffness = [1.0, 2.0, 3.0]
length = 1.5
[preparation]
start = "square"
noise = 0.3
n_particles = 16
density = 0.1
replicas = 3
"""
NETWORK = """
[bonds]
within = 1.3
stiffness = 2.0
[preparation]
start = "triangular"
noise = 0.05
n_particles = 60
density = 1.0
replicas = 3
tolerance = 1e-11
"""


def load(folder: Path, text: str) -> tuple[ensemble.Ensemble, Path]:
    file = folder / "a.toml"
    file.write_text(text)
    settings = load_preparation(file)
    out = folder / "a.gsd"
    prepare_to_gsd(settings.potential, settings.preparation, out, bonds=settings.bonds)
    made = prepare_ensemble(
        settings.potential,
        settings.preparation,
        bonds=settings.bonds,
        replicas=settings.preparation.n_replicas,
        replica=0,
    )
    return made, out


def lengths(made: ensemble.Ensemble, replica: int) -> np.ndarray:
    pairs = made.bonds[replica if len(made.bonds) > 1 else 0].pairs
    assert made.boxes is not None
    side = np.diag(made.boxes[0])
    apart = made.positions[replica][pairs[:, 1]] - made.positions[replica][pairs[:, 0]]
    return np.linalg.norm(apart - side * np.round(apart / side), axis=1)


def test_listed_bonds_are_as_long_as_they_should(tmp_path: Path) -> None:
    made, _ = load(tmp_path, CHAIN)
    assert made.converged.all()
    for r in range(3):
        np.testing.assert_allclose(lengths(made, r), 1.5, atol=1e-9)


def test_a_network_without_a_potential_is_at_rest_where_it_was_made(tmp_path: Path) -> None:
    made, out = load(tmp_path, NETWORK)
    assert made.potential is None
    assert len(made.bonds) == 3
    assert (made.energy < 1e-18).all()
    frames = list(read_gsd(out, need_potential=False))
    for frame, own in zip(frames, made.bonds, strict=True):
        assert frame.bonds is not None
        np.testing.assert_array_equal(frame.bonds, own.pairs)
        np.testing.assert_array_equal(frame.log["springs/stiffness"], own.stiffness)


def test_a_file_starts_with_its_own_springs(tmp_path: Path) -> None:
    made, out = load(tmp_path, NETWORK)
    again = tmp_path / "again"
    again.mkdir()
    text = f"[preparation]\nstart = 'file'\nfile = '{out}'\n"
    first, _ = load(again, text)
    assert (first.energy < 1e-18).all()
    np.testing.assert_array_equal(first.bonds[1].length, made.bonds[1].length)
    (again / "a.gsd").unlink()
    # Twice as long all of them, the network cannot be without forces at fixed volume.
    longer, _ = load(again, text + "[bonds]\nlength = 2.5\n")
    assert (longer.energy > 1).all()
    np.testing.assert_array_equal(longer.bonds[0].stiffness, 2.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CHAIN.replace("[[0, 1], [1, 2], [2, 3]]", "[[0, 1], [1, 99], [2, 3]]"), "pairs reach"),
        (CHAIN.replace("[[0, 1], [1, 2], [2, 3]]", "[[0, 1], [1, 1]]"), "with itself"),
        (CHAIN.replace("stiffness = [1.0, 2.0, 3.0]", "stiffness = [1.0]"), "stiffness has shape"),
        (CHAIN.replace("stiffness = [1.0, 2.0, 3.0]", ""), "need a stiffness"),
        (CHAIN.replace("length = 1.5", "within = 1.5"), "give one"),
        (NETWORK.replace("within = 1.3", "within = 0.1"), "no two particles are within 0.1"),
        (NETWORK.replace("within = 1.3", "within = 30.0"), "must be below"),
        (NETWORK.replace("within = 1.3", ""), "need pairs, or a distance"),
        (NETWORK.replace("[bonds]\nwithin = 1.3\nstiffness = 2.0", ""), "[potential] is missing"),
    ],
)
def test_what_cannot_be_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    with pytest.raises(CampaignFileError) as caught:
        load_preparation(file)
    assert words in str(caught.value)


def test_bonds_without_stiffness_are_not_dropped(tmp_path: Path) -> None:
    _, out = load(tmp_path, NETWORK)
    import gsd.hoomd

    bare = tmp_path / "bare.gsd"
    with gsd.hoomd.open(out) as whole, gsd.hoomd.open(bare, "w") as file:
        for frame in whole:
            frame.log = {}
            file.append(frame)
    text = f"[preparation]\nstart = 'file'\nfile = '{bare}'\n"
    (tmp_path / "b.toml").write_text(text)
    with pytest.raises(CampaignFileError, match="not how stiff they are"):
        load_preparation(tmp_path / "b.toml")
    (tmp_path / "b.toml").write_text(text + "[bonds]\nstiffness = 1.5\n")
    settings = load_preparation(tmp_path / "b.toml")
    made = prepare_ensemble(None, settings.preparation, bonds=settings.bonds, replica=0, replicas=2)
    assert (made.energy < 1e-18).all()
