"""`ilk add` as it is typed: output, files, and errors that lose nothing."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from helpers.digit_folders import write_digits
from ilk.artifacts import model_folder as artefact
from ilk.artifacts.load_classifier import load
from ilk.cli.add import command
from ilk.core.errors import IlkError

METHODS = {"gda": "GDA", "logistic": "LogisticRegression(C=1.0)"}


def run(args: list[str]) -> int:
    """Run the command alone and return the exit code of `ilk`."""
    import click

    try:
        return command.main(args, prog_name="ilk add", standalone_mode=False) or 0
    except IlkError as error:
        click.echo(f"ilk: {error}", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code


def ilk(args: list[str]) -> int:
    from ilk.cli import run as run_ilk

    return run_ilk(args)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("digits")
    counts = {"zero 0": 40, "one 1": 40, "four 4": 40}
    write_digits(home / "old" / "train", counts)
    write_digits(home / "old" / "test", dict.fromkeys(counts, 15), seed=5)
    for name in counts:  # the two draws overlap; what is in train is not tested
        for file in (home / "old" / "train" / name).iterdir():
            (home / "old" / "test" / name / file.name).unlink(missing_ok=True)
    write_digits(home / "new", {"six 6": 30, "seven 7": 30})
    return home


@pytest.fixture(scope="module", params=METHODS)
def model(
    request: pytest.FixtureRequest, digits: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("model") / "kinds"
    args = ["--encoder", "pixels", "--method", METHODS[request.param]]
    assert ilk(["fit", str(digits / "old"), "--out", str(out), *args]) == 0
    return out


def six_options(digits: Path) -> list[str]:
    return ["--class-images", "six 6", str(digits / "new" / "six 6")]


def predict(model: Path, folder: Path, tmp_path: Path) -> list[str]:
    assert ilk(["predict", str(model), str(folder), "--out", str(tmp_path / "rows.csv")]) == 0
    return [row["name"] for row in csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())]


def read_files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_a_class_is_added_and_the_others_are_predicted_as_before(
    model: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_files(model)
    out = tmp_path / "kinds2"
    assert run([str(model), *six_options(digits), "--out", str(out)]) == 0
    output = capsys.readouterr().out
    assert "predicted as before" in output
    assert "30 images of six 6 added" in output
    assert read_files(model) == before
    assert set(before) <= set(read_files(out))
    names = predict(out, digits / "new" / "six 6", tmp_path)
    assert names.count("six 6") >= 28
    again = predict(out, digits / "old" / "test", tmp_path)
    assert (
        sum(
            a == b
            for a, b in zip(again, predict(model, digits / "old" / "test", tmp_path), strict=True)
        )
        >= len(again) - 2
    )
    description = json.loads((out / "model.json").read_text())
    assert description["classes"] == ["four 4", "one 1", "zero 0", "six 6"]
    report = description["extensions"][0]
    assert report["n_images"] == {"six 6": 30}
    assert report["date"].endswith("UTC")
    assert report["n_old_rows"] == 120
    assert report["old_agreement"] > 0.95
    page = (out / "report.html").read_text()
    assert page.count("30 images of six 6 added") == 1
    assert page.index('id="since-h"') < page.index('id="summary-h"')
    assert ilk(["evaluate", str(out), str(digits / "new")]) == 0
    assert "are excluded from the scores" in capsys.readouterr().out


def test_classes_are_added_in_place_one_by_one_or_together(
    model: Path, digits: Path, tmp_path: Path
) -> None:
    one, all_at_once = tmp_path / "one", tmp_path / "all"
    shutil.copytree(model, one)
    for name in ("seven 7", "six 6"):
        assert run([str(one), "--class-images", name, str(digits / "new" / name)]) == 0
    assert run([str(model), str(digits / "new"), "--out", str(all_at_once)]) == 0
    several = ["--class-images", "seven 7", str(digits / "new" / "seven 7"), *six_options(digits)]
    assert run([str(model), *several, "--out", str(tmp_path / "several")]) == 0
    folder = digits / "new"
    assert predict(one, folder, tmp_path) == predict(all_at_once, folder, tmp_path)
    assert predict(one, folder, tmp_path) == predict(tmp_path / "several", folder, tmp_path)
    page = (one / "report.html").read_text()
    assert page.count('id="since"') == page.count('href="#since"') == 1
    assert page.count("describes the model as it was fitted") == 1
    assert page.index("of seven 7 added") < page.index("of six 6 added")
    intake = json.loads((one / "intake.json").read_text())
    assert intake["counts"]["classes"]["six 6"] == 30
    assert len(list(one.glob("model*.safetensors"))) == 1


def test_another_model_is_not_overwritten_and_a_damaged_intake_stops_in_time(
    model: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("other", "damaged"):
        shutil.copytree(model, tmp_path / name)
    (tmp_path / "damaged" / "intake.json").write_text("{")
    for args, code, message in (
        ([str(model), "--out", str(tmp_path / "other")], 5, "contains another ilk classifier"),
        ([str(tmp_path / "damaged")], 4, "remove the damaged file"),
    ):
        folder = Path(args[-1])
        before = read_files(folder)
        assert run([args[0], *six_options(digits), *args[1:]]) == code
        assert message in capsys.readouterr().err
        assert read_files(folder) == before


def test_a_model_that_changed_in_the_meantime_is_not_overwritten(
    model: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ilk.updates import extend as growing

    shutil.copytree(model, tmp_path / "k")
    original = growing.extend_classifier

    def change_model(*args: object, **more: object) -> object:
        monkeypatch.setattr(growing, "extend_classifier", original)
        assert (
            run([str(tmp_path / "k"), "--class-images", "seven 7", str(digits / "new" / "seven 7")])
            == 0
        )
        return original(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(growing, "extend_classifier", change_model)
    assert run([str(tmp_path / "k"), *six_options(digits)]) == 4
    assert load(tmp_path / "k").classes[-1] == "seven 7"


def test_failed_work_leaves_no_folder(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "deep" / "er"
    assert (
        run([str(model), "--class-images", "owl", str(tmp_path / "empty"), "--out", str(out)]) == 2
    )
    assert not (tmp_path / "deep").exists()
    assert (tmp_path / "empty").is_dir()


def test_an_unreadable_image_is_refused_and_reported(
    model: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(digits / "new" / "six 6", tmp_path / "six")
    files = sorted((tmp_path / "six").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:60])
    (tmp_path / "six" / "notes.txt").write_text("hello")
    training_image = next((digits / "old" / "train" / "one 1").iterdir())
    shutil.copy(training_image, tmp_path / "six" / "copy.png")
    args = [
        str(model),
        "--class-images",
        "six 6",
        str(tmp_path / "six"),
        "--out",
        str(tmp_path / "k"),
    ]
    assert run(args) == 0
    output = capsys.readouterr().out
    assert all(r in output for r in ("truncated", "not an image", "same content under two labels"))
    assert "29 images of six 6 added" in output
    assert ilk(["--help"]) == 0


def test_the_same_images_are_never_added_twice(
    model: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "k"
    assert run([str(model), *six_options(digits), "--out", str(out)]) == 0
    before = read_files(out)
    assert run([str(out), *six_options(digits), "--allow-known"]) == 2
    assert "no image of 'six 6' that can be used" in capsys.readouterr().err
    assert read_files(out) == before
    write_digits(tmp_path / "more", {"six 6": 60}, seed=9)
    assert (
        run(
            [str(out), "--class-images", "six 6", str(tmp_path / "more" / "six 6"), "--allow-known"]
        )
        == 0
    )
    counts = load(out).summary_statistics
    assert counts is not None
    assert 30 < counts.counts[-1] < 90


BAD = {
    "a name that is known": (["--class-images", "one 1", "{new}/six 6"], 2, "--allow-known"),
    "a spelling of a name": (["--class-images", "One 1", "{new}/six 6"], 2, "spelled like"),
    "no such folder": (["--class-images", "owl", "{new}/owl"], 2, "there is no folder or file"),
    "an empty folder": (["--class-images", "owl", "{tmp}/empty"], 2, "is empty"),
    "a folder without images": (["--class-images", "owl", "{tmp}/text"], 2, "not an image"),
    "nothing but broken images": (["--class-images", "owl", "{tmp}/broken"], 2, "that can be used"),
    "a folder of several classes": (
        ["--class-images", "owl", "{old}/train"],
        2,
        "the folder of 'owl' alone",
    ),
    "nothing to add": ([], 2, "give either --class-images"),
    "both ways": (
        ["{new}", "--class-images", "owl", "{new}/six 6"],
        2,
        "give either --class-images",
    ),
    "no name": (["--class-images", " ", "{new}/six 6"], 2, "a class needs a name"),
    "a folder of something else": (
        ["--class-images", "owl", "{new}/six 6", "--out", "{tmp}/text"],
        5,
        "not an ilk classifier",
    ),
    "strict": (["--class-images", "owl", "{tmp}/mixed", "--strict"], 1, "--strict was given"),
    "an old class again": (
        ["--class-images", "uno", "{tmp}/uno"],
        2,
        "cannot be distinguished from 'one 1'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error_of_one_sentence_and_nothing_is_lost(
    case: str, model: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args, code, message = BAD[case]
    good = next((digits / "new" / "six 6").iterdir()).read_bytes()
    for name in ("empty", "text", "broken", "mixed", "uno"):
        (tmp_path / name).mkdir()
    (tmp_path / "text" / "a.txt").write_text("hello")
    (tmp_path / "broken" / "a.png").write_bytes(good[:70])
    (tmp_path / "mixed" / "a.png").write_bytes(good[:70])
    (tmp_path / "mixed" / "b.png").write_bytes(good)
    if case == "an old class again":
        write_digits(tmp_path / "raw", {"x1": 120}, seed=3)
        for file in (tmp_path / "raw" / "x1").iterdir():
            file.rename(tmp_path / "uno" / file.name)
    before = read_files(model)
    places = {"new": digits / "new", "old": digits / "old", "tmp": tmp_path}
    exit_code = run([str(model), *(a.format(**places) for a in args)])
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert exit_code == code, line
    assert message in line
    assert read_files(model) == before


def test_a_folder_that_is_not_a_model(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(digits), *six_options(digits)]) == 4
    assert "contains no ilk classifier" in capsys.readouterr().err


@pytest.mark.parametrize("encoder", ["hf-hub:nobody/gone", "pixels/4x4x1"])
def test_a_missing_or_different_encoder(
    encoder: str, model: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(model, tmp_path / "k")
    description = json.loads((tmp_path / "k" / "model.json").read_text())
    description["encoder"]["name"] = encoder
    description["digest"] = artefact.compute_digest(description)
    (tmp_path / "k" / "model.json").write_text(json.dumps(description))
    before = read_files(tmp_path / "k")
    assert run([str(tmp_path / "k"), *six_options(digits)]) == 3
    assert encoder.partition(":")[2] in capsys.readouterr().err
    assert read_files(tmp_path / "k") == before


def test_a_single_image_is_added_and_reported(
    model: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next((digits / "new" / "six 6").iterdir())
    assert run([str(model), "--class-images", "six", str(file), "--out", str(tmp_path / "k")]) == 0
    assert "recall is unknown for six, which has a single image" in capsys.readouterr().out


class Killed(BaseException):
    """Not an error that anyone handles, as a kill is not."""


def test_no_image_is_added_twice_after_an_interruption(model, digits, tmp_path, monkeypatch):
    shutil.copytree(model, tmp_path / "k")

    def stop(n_calls):
        replace = os.replace

        def stops(source, target):
            nonlocal n_calls
            if str(target).startswith(str(tmp_path)):
                n_calls -= 1
                if n_calls < 0:
                    raise Killed
            replace(source, target)

        return stops

    states = set()
    for n_calls in range(50):
        home = shutil.copytree(model, tmp_path / f"k{n_calls}")
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stop(n_calls))
            try:
                is_whole = run([str(home), *six_options(digits)]) == 0
            except Killed:
                is_whole = False
        counts = load(home).summary_statistics.counts  # finishes what was committed
        is_added = len(counts) > len(load(model).summary_statistics.counts)
        assert is_added == ("six" in (home / "report.html").read_text("utf-8", "surrogateescape"))
        states.add(is_added)
        assert run([str(home), *six_options(digits), "--allow-known"]) == (2 if is_added else 0)
        assert load(home).summary_statistics.counts[-1] == 30
        if is_whole:
            break
    assert states == {True, False}


def test_a_folder_that_names_no_class_adds_nothing(model, digits, tmp_path, capsys):
    shutil.copytree(digits / "new" / "six 6", tmp_path / "flat")
    before = read_files(model)
    assert run([str(model), str(tmp_path / "flat")]) == 2
    assert "names a class" in capsys.readouterr().err
    assert read_files(model) == before


def test_lost_guarantees_are_reported(digits, tmp_path, capsys, monkeypatch):
    """One in a hundred needs 99 held-out images; fewer are kept than the fit had."""
    from ilk.trust import summary_statistics as keeping

    monkeypatch.setattr(keeping, "MAX_ROWS", 30)
    fit = ["fit", str(digits / "old"), "--out", str(tmp_path / "k"), "--encoder", "pixels"]
    assert ilk([*fit, "--method", "GDA", "--coverage", "0.99", "--false-alarm", "0.01"]) == 0
    capsys.readouterr()
    assert run([str(tmp_path / "k"), *six_options(digits)]) == 0
    output = capsys.readouterr().out
    assert "every set holds every class" in output
    assert "nothing is ever flagged as unknown" in output


def test_an_interrupted_add_is_remembered_by_the_next(
    model: Path, digits: Path, tmp_path: Path
) -> None:
    shutil.copytree(model, tmp_path / "k")
    before = (tmp_path / "k" / "intake.json").read_bytes()
    assert run([str(tmp_path / "k"), *six_options(digits)]) == 0
    (tmp_path / "k" / "intake.json").write_bytes(before)  # it was stopped before this one
    assert (
        run([str(tmp_path / "k"), "--class-images", "seven 7", str(digits / "new" / "seven 7")])
        == 0
    )
    assert run([str(tmp_path / "k"), *six_options(digits), "--allow-known"]) == 2
    summary = load(tmp_path / "k").summary_statistics
    assert summary is not None
    assert summary.counts[-2:].tolist() == [30, 30]


def save_again(folder: Path, target: Path, n: int) -> list[str]:
    """Write images of a folder as BMP files; return the names of the originals."""
    target.mkdir(parents=True)
    originals = sorted(folder.iterdir())[:n]
    for file in originals:
        Image.open(file).save(target / f"{file.stem}.bmp")
    return [file.name for file in originals]


def test_training_images_saved_in_another_format_are_not_added(
    model: Path,
    digits: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    if request.node.callspec.params["model"] == "logistic":
        pytest.skip("known classes cannot be extended by it")
    names = save_again(digits / "old" / "train" / "zero 0", tmp_path / "more" / "zero 0", 2)
    save_again(digits / "old" / "train" / "one 1", tmp_path / "more" / "six 6", 1)
    shutil.copytree(digits / "new" / "six 6", tmp_path / "more" / "six 6", dirs_exist_ok=True)
    out = tmp_path / "wider"
    args = ["--class-images", "six 6", str(tmp_path / "more" / "six 6"), "--out", str(out)]
    args += ["--class-images", "zero 0", str(tmp_path / "more" / "zero 0"), "--allow-known"]
    Image.new("L", (8, 8), 3).save(tmp_path / "more" / "zero 0" / "new.png")
    assert run([str(model), *args]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"of train/zero 0/{names[0]} (the same pixels, saved differently)" in shown
    assert "a training image of the model" in shown
    assert "as six 6, but train/one 1/" in shown
    rows = json.loads((out / "intake.json").read_text())["rows"]
    assert not any(row["path"].endswith(".bmp") for row in rows)


def test_evaluation_knows_training_images_by_their_pixels(
    model: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_again(digits / "old" / "train" / "zero 0", tmp_path / "again" / "zero 0", 3)
    shutil.copytree(digits / "old" / "test" / "one 1", tmp_path / "again" / "one 1")
    assert ilk(["evaluate", str(model), str(tmp_path / "again")]) == 0
    assert "the model was fitted on 3 of these" in capsys.readouterr().out
