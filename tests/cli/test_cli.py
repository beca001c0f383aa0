"""The commands end to end: files, messages and exit codes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.digit_folders import write_digits
from ilk.cli import run

QUICK = ["--encoder", "pixels", "--method", "GDA", "--method", "NearestClassMean"]
HEADINGS = ["path", "name", "probability", "set", "unknown", "unknown_score", "error"]


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence at the end of standard error."""
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("digits")
    write_digits(home / "train", {"zero 0": 40, "one 1": 50, "vier 4": 30})
    write_digits(home / "test", {"zero 0": 20, "one 1": 15, "vier 4": 20}, seed=99)
    return home


@pytest.fixture(scope="module")
def kinds(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "kinds"
    assert run(["fit", str(digits), "--out", str(out), *QUICK]) == 0
    return out


def test_fit_writes_a_complete_model_folder(kinds: Path, digits: Path) -> None:
    names = {path.name for path in kinds.iterdir()}
    assert {"model.safetensors", "model.json", "leaderboard.json", "intake.json"} <= names
    assert "report.html" in names
    description = json.loads((kinds / "model.json").read_text())
    assert description["classes"] == ["one 1", "vier 4", "zero 0"]
    assert description["encoder"]["name"] == "pixels/8x8x1"
    assert description["metrics"]["evaluation"]["accuracy"]["value"] > 0.9
    assert description["metrics"]["evaluated_on"] == "the test split, scored once"
    leaderboard = json.loads((kinds / "leaderboard.json").read_text())
    assert {row["method"] for row in leaderboard["rows"]} == {"GDA()", "NearestClassMean()"}
    assert leaderboard["command"].startswith("ilk fit ")
    intake = json.loads((kinds / "intake.json").read_text())
    assert len(intake["rows"]) == sum(len(files) for _, _, files in os.walk(digits))


def test_predict_keeps_the_order_and_reports_unreadable_inputs(
    kinds: Path, digits: Path, tmp_path: Path
) -> None:
    good = sorted((digits / "test" / "vier 4").iterdir())[:2]
    broken = tmp_path / "broken.png"
    broken.write_bytes(good[0].read_bytes()[:60])
    inputs = [str(good[1]), str(broken), str(good[0]), str(tmp_path / "gone.png"), str(good[1])]
    out = tmp_path / "rows.csv"
    assert run(["predict", str(kinds), *inputs, "--out", str(out)]) == 1
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["path"] for row in rows] == inputs
    assert [row["name"] for row in rows] == ["vier 4", "", "vier 4", "", "vier 4"]
    assert rows[0] == rows[4]
    assert "truncated" in rows[1]["error"]
    assert "missing" in rows[3]["error"]
    assert 0.5 < float(rows[0]["probability"]) <= 1


def test_predict_streams_to_standard_output(
    kinds: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", str(kinds), str(digits / "test")]) == 0
    rows = list(csv.reader(capsys.readouterr().out.splitlines()))
    assert rows[0] == HEADINGS
    files = sorted(p for p in (digits / "test").rglob("*.png"))
    assert sorted(row[0] for row in rows[1:]) == [str(p) for p in files]


def test_evaluate_reproduces_the_metrics_of_fit(kinds: Path, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation.json"
    assert run(["evaluate", str(kinds), str(digits), "--out", str(out)]) == 0
    metrics = json.loads((kinds / "model.json").read_text())["metrics"]["evaluation"]
    evaluation = json.loads(out.read_text())
    assert evaluation["n"] == metrics["n"] == 55
    assert evaluation["accuracy"] == metrics["accuracy"]
    assert evaluation["log_loss"] == pytest.approx(metrics["log_loss"], rel=1e-6)


def test_the_same_command_gives_the_same_model(kinds: Path, digits: Path, tmp_path: Path) -> None:
    assert run(["fit", str(digits), "--out", str(tmp_path / "k"), *QUICK]) == 0
    first, second = (folder / "model.safetensors" for folder in (kinds, tmp_path / "k"))
    assert first.read_bytes() == second.read_bytes()


def test_check_exits_with_1_if_a_file_is_refused(tmp_path: Path) -> None:
    home = write_digits(tmp_path / "d", {"a1": 5, "b2": 5})
    assert run(["check", str(home)]) == 0
    (home / "a1" / "notes.png").write_text("no image")
    report = tmp_path / "intake.json"
    assert run(["check", str(home), "--out", str(report)]) == 1
    refused = [r for r in json.loads(report.read_text())["rows"] if r["status"] == "refused"]
    assert [(r["path"], r["reason"]) for r in refused] == [("a1/notes.png", "not an image")]


def test_fit_skips_refused_files_and_strict_stops(tmp_path: Path) -> None:
    home = write_digits(tmp_path / "d", {"a1": 9, "b2": 9})
    victim = next(iter(sorted((home / "a1").iterdir())))
    victim.write_bytes(victim.read_bytes()[:70])
    assert run(["fit", str(home), "--out", str(tmp_path / "k"), *QUICK]) == 0
    intake = json.loads((tmp_path / "k" / "intake.json").read_text())
    reasons = [r["reason"] for r in intake["rows"] if r["status"] == "refused"]
    assert reasons == ["truncated"]
    assert run(["fit", str(home), "--out", str(tmp_path / "s"), "--strict", *QUICK]) == 1
    assert not (tmp_path / "s" / "model.json").exists()


BAD = {
    "empty folder": ({}, [], 2, "empty"),
    "no images in it": ({"notes.txt": b"hello"}, [], 2, "not an image"),
    "unknown encoder": ({"a1": 4, "b2": 4}, ["--encoder", "pixls"], 2, "pixels"),
    "unknown method": ({"a1": 4, "b2": 4}, ["--method", "GDDA"], 2, "GDA"),
    "method that cannot be read": ({"a1": 4, "b2": 4}, ["--method", "GDA(shrink=)"], 2, "GDA("),
    "field that is not there": ({"a1": 4, "b2": 4}, ["--method", "GDA(shrnk=1)"], 2, "shrnk"),
    "two spellings": ({"Owl1": 4, "owl1": 4}, [], 2, "Owl1"),
    "one class": ({"a1": 4}, [], 2, "only one class"),
    "no label": ({"unlabelled1": 0}, [], 2, "a first guess without labels"),
    "coverage out of range": ({"a1": 4, "b2": 4}, ["--coverage", "1.5"], 2, "between 0 and 1"),
    "no such device": ({"a1": 4, "b2": 4}, ["--encoder", "pixels", "--device", "gpu9"], 2, "gpu9"),
    "source that is not there": (None, [], 2, "no folder or file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_sentence_and_an_exit_code(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, options, code, message = BAD[case]
    home = tmp_path / "source"
    if content is not None:
        home.mkdir()
        for name, what in content.items():
            if isinstance(what, bytes):
                (home / name).write_bytes(what)
            elif name.startswith("unlabelled"):
                write_digits(tmp_path / "loose", {"a1": 3})
                for file in (tmp_path / "loose" / "a1").iterdir():
                    shutil.copy(file, home)
            else:
                write_digits(home, {name: what}, seed=len(name))
    quick = [] if "--method" in options or "--encoder" in options else ["--encoder", "pixels"]
    exit_code = run(["fit", str(home), "--out", str(tmp_path / "k"), *quick, *options])
    line = last_line(capsys)
    assert exit_code == code, line
    assert line.startswith("ilk: ")
    assert message in line
    assert "Traceback" not in line


def test_a_missing_gpu_is_reported(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    args = ["fit", str(digits), "--out", str(tmp_path / "k"), *QUICK, "--device", "cuda"]
    assert run(args) == 3
    assert "cuda" in last_line(capsys)
    assert not (tmp_path / "k" / "model.json").exists()


def test_doctor_reports_python_store_and_encoders(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("python", "torch", "store", "pixels"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,kind\na.png,cat\n", "label"),
        ("path,label\ngone.png,cat\nlost.png,dog\n", "missing"),
    ],
)
def test_tables_with_missing_columns_or_files(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.csv").write_text(text)
    assert run(["fit", str(tmp_path / "labels.csv"), "--out", str(tmp_path / "k")]) == 2
    assert message in last_line(capsys)


def test_one_image_per_class_gives_a_classifier_that_was_not_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_digits(tmp_path / "d", {"a1": 1, "b2": 1, "c3": 1})
    assert run(["fit", str(home), "--out", str(tmp_path / "k"), *QUICK]) == 0
    assert "single labelled image" in capsys.readouterr().out
    assert run(["predict", str(tmp_path / "k"), str(home)]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["name"] for row in rows] == ["a1", "b2", "c3"]
    assert all(len(row["set"].split("|")) == 3 for row in rows)


def test_a_class_with_one_image_beside_larger_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = write_digits(tmp_path / "d", {"a1": 12, "b2": 12, "c3": 1})
    assert run(["fit", str(home), "--out", str(tmp_path / "k"), *QUICK]) == 0
    assert "one class has a single image" in capsys.readouterr().out


def test_unlabelled_images_do_not_count_as_training_images(
    tmp_path: Path,
) -> None:
    home = write_digits(tmp_path / "d", {"a1": 12, "b2": 12, "unlabelled/x1": 6})
    for i, file in enumerate(sorted((home / "unlabelled" / "x1").iterdir())):
        shutil.move(file, home / "unlabelled" / f"u{i}.png")
    (home / "unlabelled" / "x1").rmdir()
    assert run(["fit", str(home), "--out", str(tmp_path / "k"), *QUICK]) == 0
    description = json.loads((tmp_path / "k" / "model.json").read_text())
    assert description["classes"] == ["a1", "b2"]
    assert description["data"]["train"] == 24 - (12 - len(list((home / "a1").iterdir())))


def test_a_folder_without_a_model_is_refused(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", str(digits), "x.png"]) == 4
    assert "ilk fit" in last_line(capsys)


@pytest.mark.parametrize(("version", "message"), [(99, "newer ilk"), (2, "older ilk")])
def test_a_model_in_another_version_of_the_format_is_refused(
    version: int, message: str, kinds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(kinds, tmp_path / "k")
    description = json.loads((tmp_path / "k" / "model.json").read_text())
    description["version"] = version
    (tmp_path / "k" / "model.json").write_text(json.dumps(description))
    assert run(["predict", str(tmp_path / "k"), "x.png"]) == 4
    assert message in last_line(capsys)


def test_the_output_folder_is_checked_before_any_work(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert run(["fit", str(digits), "--out", str(tmp_path), *QUICK]) == 5
    assert "not an ilk classifier" in last_line(capsys)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.txt"]


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_ctrl_c_says_how_to_resume(
    monkeypatch: pytest.MonkeyPatch,
    digits: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ilk.fitting.encoding.encode_and_refuse", stop)
    assert run(["fit", str(digits), "--out", str(tmp_path / "k"), *QUICK]) == 130
    assert "run the same command again" in last_line(capsys)


def test_store_lists_and_clears(
    kinds: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = write_digits(tmp_path / "d", {"a1": 6, "b2": 6})
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "own.sqlite"))
    assert run(["fit", str(home), "--out", str(tmp_path / "k"), *QUICK]) == 0
    assert run(["store"]) == 0
    assert "pixels/8x8x1" in capsys.readouterr().out
    assert run(["store", "--clear", "--encoder", "pixel"]) == 2
    assert run(["store", "--clear"]) == 0
    assert "12 rows cleared" in capsys.readouterr().out


@pytest.mark.parametrize("args", [["--help"], ["fit", "--help"], ["methods"], ["methods", "GDA"]])
def test_help_is_printed(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(args) == 0
    assert len(capsys.readouterr().out) > 100


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ilk.cli import run; run(['--help']);"
        "bad = {'numpy', 'torch', 'rich', 'sklearn', 'PIL'} & set(sys.modules); sys.exit(bool(bad))"
    )
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("method", ["GaussianAnomaly", "LatentLabelShift"])
def test_a_method_that_does_not_classify_is_refused(method, tmp_path, capsys):
    home = write_digits(tmp_path / "d", {"one 1": 4, "two 2": 4})
    args = ["fit", str(home), "--out", str(tmp_path / "k"), "--encoder", "pixels"]
    assert run([*args, "--method", method]) == 2
    assert method in capsys.readouterr().err


REFUSED = {
    "nothing to name": (["predict", "{kinds}", "{tmp}/empty"], "no file in"),
    "a split that is not there": (
        ["evaluate", "{kinds}", "{digits}/train", "--split", "test"],
        "there is no test split",
    ),
    "domains": (["fit", "{digits}", "--out", "{tmp}/k", "--method", "DRM"], "several domains"),
    "new groups": (
        ["fit", "{digits}", "--out", "{tmp}/k", "--method", "SemiSupervisedKMeans"],
        "ilk discover",
    ),
    "no label names them": (
        ["fit", "{digits}", "--out", "{tmp}/k", "--method", "LatentLabelShift"],
        "finds classes without labels",
    ),
    "text": (
        ["fit", "{digits}", "--out", "{tmp}/k", "--encoder", "pixels", "--method", "ZeroShot"],
        "none of the encoders embeds text",
    ),
    "the table itself": (["check", "{tmp}/t.csv", "--out", "{tmp}/t.csv"], "name another file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_command_says_what_to_do_and_changes_no_file(
    case: str, kinds: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    image = next((digits / "train" / "one 1").iterdir())
    table = f"path,label\n{image},one\n"
    (tmp_path / "t.csv").write_text(table)
    args, message = REFUSED[case]
    places = {"kinds": kinds, "digits": digits, "tmp": tmp_path}
    assert run([a.format(**places) for a in args]) == 2
    assert message in last_line(capsys)
    assert (tmp_path / "t.csv").read_text() == table
    assert not (tmp_path / "k").exists()


def test_evaluate_reports_training_images(
    kinds: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", str(kinds), str(digits / "train")]) == 0
    assert "the model was fitted on 111 of these 120" in capsys.readouterr().out  # 9 are in test
    assert run(["evaluate", str(kinds), str(digits)]) == 0
    assert "was fitted on" not in capsys.readouterr().out


def test_missing_unlabelled_images_are_reported(
    digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["fit", str(digits), "--out", str(tmp_path / "k"), "--encoder", "pixels"]
    assert run([*args, "--method", "AlphaTIM", "--method", "GDA"]) == 0
    said = capsys.readouterr()
    assert "AlphaTIM() also uses unlabelled images" in said.out + said.err
