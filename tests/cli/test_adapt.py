"""`ilk adapt` as it is typed: a stream with other class priors, and streams it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.digit_folders import write_digits
from ilk.artifacts.load_classifier import load
from ilk.cli import run as ilk
from ilk.cli.adapt import command
from ilk.core.errors import IlkError

CLASSES = ("three 3", "eight 8", "nine 9")


def run(args: list[str]) -> int:
    """Run the command alone and return the exit code of `ilk`."""
    import click

    try:
        return command.main(args, prog_name="ilk adapt", standalone_mode=False) or 0
    except IlkError as error:
        click.echo(f"ilk: {error}", err=True)
        return error.exit_code
    except click.exceptions.Exit as stopped:
        return stopped.exit_code


def fit_model(home: Path, each: int, encoder: str) -> Path:
    write_digits(home / "old", dict.fromkeys(CLASSES, each))
    args = ["--encoder", encoder, "--method", "GDA"]
    assert ilk(["fit", str(home / "old"), "--out", str(home / "kinds"), *args]) == 0
    return home / "kinds"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit_model(tmp_path_factory.mktemp("fine"), 40, "pixels/4x4x1")


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with so little information that the class priors matter."""
    return fit_model(tmp_path_factory.mktemp("coarse"), 60, "pixels/2x2x1")


@pytest.fixture(scope="module")
def stream(model: Path) -> Path:
    home = write_digits(model.parent / "stream", {"three 3": 120, "eight 8": 12, "nine 9": 12}, 3)
    for folder in sorted(home.iterdir()):  # without folders, which would be labels
        for file in sorted(folder.iterdir()):
            file.rename(home / file.name)
        folder.rmdir()
    return home


def read_files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_a_stream_with_other_priors_is_adapted_to(
    coarse: Path, stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_files(coarse)
    assert run([str(coarse), str(stream), "--out", str(tmp_path / "adapted")]) == 0
    output = capsys.readouterr().out
    assert "95 % interval" in output
    assert "adapted to the class priors among 144 images: three 3 " in output
    assert read_files(coarse) == before
    adapted = load(tmp_path / "adapted")
    assert adapted.class_priors is not None
    record = json.loads((tmp_path / "adapted" / "model.json").read_text())["adaptation"]
    assert record["n_images"] == 144
    index = adapted.classes.index("three 3")
    assert record["target"][index] == pytest.approx(120 / 144, abs=0.12)
    assert (
        record["source"][index] + 0.1 < adapted.class_priors.target[index] < record["target"][index]
    )
    assert "adapted to the class priors" in (tmp_path / "adapted" / "report.html").read_text()
    assert ilk(["predict", str(tmp_path / "adapted"), str(stream)]) == 0


def test_a_stream_with_the_same_priors_changes_no_prediction(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_digits(tmp_path / "same", dict.fromkeys(CLASSES, 50), 7)
    assert run([str(model), str(home), "--out", str(tmp_path / "k")]) == 0
    assert "do not differ significantly from those of the model" in capsys.readouterr().out
    files = sorted(home.rglob("*.png"))
    assert load(tmp_path / "k").predict(files) == load(model).predict(files)


def write_noise(home: Path) -> Path:
    rng = np.random.default_rng(0)
    home.mkdir()
    for i in range(40):
        pixels = rng.integers(0, 256, (8, 8)).astype(np.uint8)
        Image.fromarray(pixels).save(home / f"{i}.png")
    return home


BAD = {
    "no images": ("empty", 2, "is empty"),
    "no such folder": ("gone", 2, "there is no folder or file"),
    "no image among the files": ("text", 2, "not an image"),
    "too few": ("few", 2, "5 images are too few"),
    "one class": ("one", 2, "nearly all images are classified as 'nine 9'"),
    "strangers": ("strange", 2, "flagged as unknown"),
}


@pytest.mark.parametrize("case", BAD)
def test_an_unusable_stream_is_an_error_of_one_sentence_and_nothing_is_written(
    case: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, code, message = BAD[case]
    for folder in ("empty", "text"):
        (tmp_path / folder).mkdir()
    (tmp_path / "text" / "a.txt").write_text("hello")
    write_digits(tmp_path / "few", {"a3": 5})
    write_digits(tmp_path / "one", {"a9": 100}, seed=4)
    write_noise(tmp_path / "strange")
    before = read_files(model)
    assert run([str(model), str(tmp_path / name), "--out", str(tmp_path / "k")]) == code
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "k" / "model.json").exists()
    assert read_files(model) == before


def test_force_adapts_to_a_single_class(model: Path, tmp_path: Path) -> None:
    write_digits(tmp_path / "one", {"a9": 100}, seed=4)
    assert run([str(model), str(tmp_path / "one"), "--out", str(tmp_path / "k"), "--force"]) == 0
    class_priors = load(tmp_path / "k").class_priors
    assert class_priors is not None
    assert 0 < class_priors.target.min() < 0.05


def test_a_folder_with_other_files_is_not_written_to(
    model: Path, stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert run([str(model), str(stream), "--out", str(tmp_path)]) == 5
    assert "not an ilk classifier" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_strict_stops_at_a_refused_file(model: Path, tmp_path: Path) -> None:
    home = write_digits(tmp_path / "s", {"a3": 30})
    victim = next((home / "a3").iterdir())
    victim.write_bytes(victim.read_bytes()[:60])
    assert run([str(model), str(home), "--out", str(tmp_path / "k"), "--strict"]) == 1
    assert not (tmp_path / "k" / "model.json").exists()


def test_groups_widen_the_intervals(
    model: Path, stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(load(model).predict(stream), key=lambda p: (p.name, p.path))
    table = tmp_path / "stream.csv"
    lines = [f"{p.path},{i // 12}" for i, p in enumerate(names)]  # a group is of one class
    table.write_text("\n".join(["path,patient", *lines]) + "\n")
    errors = {}
    for options in ((), ("--group-column", "patient")):
        capsys.readouterr()
        out = str(tmp_path / f"adapted{len(options)}")
        assert ilk(["adapt", str(model), str(table), "--out", out, *options, "--json"]) == 0
        errors[len(options)] = json.loads(capsys.readouterr().out)["standard_error"]
    assert max(errors[2]) > 2 * max(errors[0])
