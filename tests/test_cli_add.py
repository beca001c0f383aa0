"""`ilk add` as it is typed: what it writes, what it says, and what it refuses with nothing lost."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from conftest import write_digits
from ilk import artefact
from ilk.classifier import load
from ilk.cli.add import command
from ilk.errors import IlkError

METHODS = {"gda": "GDA", "logistic": "LogisticRegression(C=1.0)"}


def run(args: list[str]) -> int:
    """The command alone, by the exit codes of `ilk`."""
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
    from ilk.cli import run as whole

    return whole(args)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("digits")
    kinds = {"zero 0": 40, "one 1": 40, "four 4": 40}
    write_digits(home / "old" / "train", kinds)
    write_digits(home / "old" / "test", dict.fromkeys(kinds, 15), seed=5)
    for name in kinds:  # the two draws overlap; what is in train is not tested
        for file in (home / "old" / "train" / name).iterdir():
            (home / "old" / "test" / name / file.name).unlink(missing_ok=True)
    write_digits(home / "new", {"six 6": 30, "seven 7": 30})
    return home


@pytest.fixture(scope="module", params=METHODS)
def kinds(
    request: pytest.FixtureRequest, digits: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("model") / "kinds"
    args = ["--encoder", "pixels", "--method", METHODS[request.param]]
    assert ilk(["fit", str(digits / "old"), "--out", str(out), *args]) == 0
    return out


def six(digits: Path) -> list[str]:
    return ["--class", "six 6", str(digits / "new" / "six 6")]


def named(model: Path, folder: Path, tmp_path: Path) -> list[str]:
    assert ilk(["predict", str(model), str(folder), "--out", str(tmp_path / "rows.csv")]) == 0
    return [row["name"] for row in csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())]


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_a_class_is_added_and_named_and_the_rest_is_told(
    kinds: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(kinds)
    out = tmp_path / "kinds2"
    assert run([str(kinds), *six(digits), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "answers as before" in said
    assert "30 images of six 6 added" in said
    assert contents(kinds) == before
    assert set(before) <= set(contents(out))
    names = named(out, digits / "new" / "six 6", tmp_path)
    assert names.count("six 6") >= 28
    again = named(out, digits / "old" / "test", tmp_path)
    assert (
        sum(
            a == b
            for a, b in zip(again, named(kinds, digits / "old" / "test", tmp_path), strict=True)
        )
        >= len(again) - 2
    )
    about = json.loads((out / "model.json").read_text())
    assert about["classes"] == ["four 4", "one 1", "zero 0", "six 6"]
    told = about["grown"][0]
    assert told["images"] == {"six 6": 30}
    assert told["date"].endswith("UTC")
    assert told["old_rows"] == 120
    assert told["old_same"] > 0.95
    page = (out / "report.html").read_text()
    assert page.count("30 images of six 6 added") == 1
    assert page.index("Since it was fitted") < page.index("What came of it")
    assert ilk(["evaluate", str(out), str(digits / "new")]) == 0
    assert "of kinds that the model never saw" in capsys.readouterr().out


def test_in_place_one_after_the_other_or_several_at_once(
    kinds: Path, digits: Path, tmp_path: Path
) -> None:
    one, all_at_once = tmp_path / "one", tmp_path / "all"
    shutil.copytree(kinds, one)
    for name in ("seven 7", "six 6"):
        assert run([str(one), "--class", name, str(digits / "new" / name)]) == 0
    assert run([str(kinds), str(digits / "new"), "--out", str(all_at_once)]) == 0
    several = ["--class", "seven 7", str(digits / "new" / "seven 7"), *six(digits)]
    assert run([str(kinds), *several, "--out", str(tmp_path / "several")]) == 0
    folder = digits / "new"
    assert named(one, folder, tmp_path) == named(all_at_once, folder, tmp_path)
    assert named(one, folder, tmp_path) == named(tmp_path / "several", folder, tmp_path)
    page = (one / "report.html").read_text()
    assert page.count('id="since"') == page.count('href="#since"') == 1
    assert page.count("tells of the model as it was fitted") == 1
    assert page.index("of seven 7 added") < page.index("of six 6 added")
    intake = json.loads((one / "intake.json").read_text())
    assert intake["counts"]["classes"]["six 6"] == 30
    assert len(list(one.glob("*.safetensors"))) == 1


def test_another_model_is_not_overwritten_and_a_damaged_intake_stops_in_time(
    kinds: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("other", "damaged"):
        shutil.copytree(kinds, tmp_path / name)
    (tmp_path / "damaged" / "intake.json").write_text("{")
    for args, code, says in (
        ([str(kinds), "--out", str(tmp_path / "other")], 5, "holds another ilk classifier"),
        ([str(tmp_path / "damaged")], 4, "take the damaged file away"),
    ):
        folder = Path(args[-1])
        before = contents(folder)
        assert run([args[0], *six(digits), *args[1:]]) == code
        assert says in capsys.readouterr().err
        assert contents(folder) == before


def test_a_model_that_changed_meanwhile_is_not_written_over(
    kinds: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ilk.living import growing

    shutil.copytree(kinds, tmp_path / "k")
    real = growing.grow

    def meanwhile(*args: object, **more: object) -> object:
        monkeypatch.setattr(growing, "grow", real)
        assert (
            run([str(tmp_path / "k"), "--class", "seven 7", str(digits / "new" / "seven 7")]) == 0
        )
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(growing, "grow", meanwhile)
    assert run([str(tmp_path / "k"), *six(digits)]) == 4
    assert load(tmp_path / "k").classes[-1] == "seven 7"


def test_work_that_fails_leaves_no_folder(kinds: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    out = tmp_path / "deep" / "er"
    assert run([str(kinds), "--class", "owl", str(tmp_path / "empty"), "--out", str(out)]) == 2
    assert not (tmp_path / "deep").exists()
    assert (tmp_path / "empty").is_dir()


def test_an_image_that_cannot_be_read_is_refused_and_told(
    kinds: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(digits / "new" / "six 6", tmp_path / "six")
    files = sorted((tmp_path / "six").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:60])
    (tmp_path / "six" / "notes.txt").write_text("hello")
    learnt = next((digits / "old" / "train" / "one 1").iterdir())
    shutil.copy(learnt, tmp_path / "six" / "copy.png")
    args = [str(kinds), "--class", "six 6", str(tmp_path / "six"), "--out", str(tmp_path / "k")]
    assert run(args) == 0
    said = capsys.readouterr().out
    assert all(r in said for r in ("truncated", "not an image", "same content under two labels"))
    assert "29 images of six 6 added" in said
    assert ilk(["--help"]) == 0


def test_the_same_images_are_never_added_twice(
    kinds: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "k"
    assert run([str(kinds), *six(digits), "--out", str(out)]) == 0
    before = contents(out)
    assert run([str(out), *six(digits), "--more"]) == 2
    assert "no image of 'six 6' that can be used" in capsys.readouterr().err
    assert contents(out) == before
    write_digits(tmp_path / "more", {"six 6": 60}, seed=9)
    assert run([str(out), "--class", "six 6", str(tmp_path / "more" / "six 6"), "--more"]) == 0
    counts = load(out).kept
    assert counts is not None
    assert 30 < counts.counts[-1] < 90


BAD = {
    "a name that is known": (["--class", "one 1", "{new}/six 6"], 2, "--more"),
    "a spelling of a name": (["--class", "One 1", "{new}/six 6"], 2, "spelled like"),
    "no such folder": (["--class", "owl", "{new}/owl"], 2, "there is no folder or file"),
    "an empty folder": (["--class", "owl", "{tmp}/empty"], 2, "is empty"),
    "a folder without images": (["--class", "owl", "{tmp}/text"], 2, "not an image"),
    "nothing but broken images": (["--class", "owl", "{tmp}/broken"], 2, "that can be used"),
    "a folder of several classes": (["--class", "owl", "{old}/train"], 2, "the folder of 'owl' al"),
    "nothing to add": ([], 2, "say what to add in one way"),
    "both ways": (["{new}", "--class", "owl", "{new}/six 6"], 2, "say what to add in one way"),
    "no name": (["--class", " ", "{new}/six 6"], 2, "a class needs a name"),
    "a folder of something else": (
        ["--class", "owl", "{new}/six 6", "--out", "{tmp}/text"],
        5,
        "no ilk classifier",
    ),
    "strict": (["--class", "owl", "{tmp}/mixed", "--strict"], 1, "--strict was given"),
    "an old class again": (["--class", "uno", "{tmp}/uno"], 2, "cannot be told from 'one 1'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_nothing_is_lost(
    case: str, kinds: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args, code, says = BAD[case]
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
    before = contents(kinds)
    places = {"new": digits / "new", "old": digits / "old", "tmp": tmp_path}
    got = run([str(kinds), *(a.format(**places) for a in args)])
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert got == code, line
    assert says in line
    assert contents(kinds) == before


def test_a_folder_that_is_no_model(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(digits), *six(digits)]) == 4
    assert "holds no ilk classifier" in capsys.readouterr().err


@pytest.mark.parametrize("encoder", ["hf-hub:nobody/gone", "pixels/4x4x1"])
def test_an_encoder_that_is_gone_or_another(
    encoder: str, kinds: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(kinds, tmp_path / "k")
    about = json.loads((tmp_path / "k" / "model.json").read_text())
    about["encoder"]["name"] = encoder
    about["digest"] = artefact.digest(about)
    (tmp_path / "k" / "model.json").write_text(json.dumps(about))
    before = contents(tmp_path / "k")
    assert run([str(tmp_path / "k"), *six(digits)]) == 3
    assert encoder.partition(":")[2] in capsys.readouterr().err
    assert contents(tmp_path / "k") == before


def test_one_image_is_added_and_said_to_be_one(
    kinds: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next((digits / "new" / "six 6").iterdir())
    assert run([str(kinds), "--class", "six", str(file), "--out", str(tmp_path / "k")]) == 0
    assert "there is one image, so how often is not known" in capsys.readouterr().out


def test_stopped_after_the_model_was_written_no_image_is_added_twice(
    kinds, digits, tmp_path, monkeypatch
):
    shutil.copytree(kinds, tmp_path / "k")

    write = artefact.write_file

    def stops(path, content):
        if path.name == "intake.json":
            raise RuntimeError("killed")
        write(path, content)

    monkeypatch.setattr(artefact, "write_file", stops)
    with pytest.raises(RuntimeError):
        run([str(tmp_path / "k"), *six(digits)])
    monkeypatch.undo()
    assert run([str(tmp_path / "k"), *six(digits), "--more"]) == 2
    assert load(tmp_path / "k").kept.counts[-1] == 30


def test_a_folder_that_names_no_class_adds_nothing(kinds, digits, tmp_path, capsys):
    shutil.copytree(digits / "new" / "six 6", tmp_path / "flat")
    before = contents(kinds)
    assert run([str(kinds), str(tmp_path / "flat")]) == 2
    assert "names a class" in capsys.readouterr().err
    assert contents(kinds) == before


def test_what_can_no_longer_be_promised_is_told(digits, tmp_path, capsys, monkeypatch):
    """One in a hundred needs 99 held-out images; fewer are kept than the fit had."""
    from ilk.trust import kept as keeping

    monkeypatch.setattr(keeping, "ROWS", 30)
    fit = ["fit", str(digits / "old"), "--out", str(tmp_path / "k"), "--encoder", "pixels"]
    assert ilk([*fit, "--method", "GDA", "--coverage", "0.99", "--false-alarm", "0.01"]) == 0
    capsys.readouterr()
    assert run([str(tmp_path / "k"), *six(digits)]) == 0
    said = capsys.readouterr().out
    assert "every set holds every class" in said
    assert "nothing is ever called unknown" in said


def test_a_stopped_add_is_not_forgotten_by_the_next(
    kinds: Path, digits: Path, tmp_path: Path
) -> None:
    shutil.copytree(kinds, tmp_path / "k")
    before = (tmp_path / "k" / "intake.json").read_bytes()
    assert run([str(tmp_path / "k"), *six(digits)]) == 0
    (tmp_path / "k" / "intake.json").write_bytes(before)  # it was stopped before this one
    assert run([str(tmp_path / "k"), "--class", "seven 7", str(digits / "new" / "seven 7")]) == 0
    assert run([str(tmp_path / "k"), *six(digits), "--more"]) == 2
    kept = load(tmp_path / "k").kept
    assert kept is not None
    assert kept.counts[-2:].tolist() == [30, 30]
