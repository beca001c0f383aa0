"""Every command reads every kind of source, and from each the same images."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest

import ilk
from helpers.archives import make_classes, make_png, write_archive, write_folder
from ilk.cli import run

FILES = make_classes(24)
SOURCES = {  # what reads the images, and whether it knows their labels
    "folder": ("photos", True),
    "zip": ("p.zip", True),
    "tar.gz": ("p.tar.gz", True),
    "pattern": ("photos/**/*.png", True),
    "table": ("t.csv", True),
    "jsonl": ("t.jsonl", True),
    "list": ("l.txt", False),
    "standard input": ("-", False),
}
LABELLED = [kind for kind, (_, has_labels) in SOURCES.items() if has_labels]
ENCODER = ("--encoder", "pixels/8x8x3")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images in every form, a classifier and a detector."""
    home = tmp_path_factory.mktemp("sources")
    write_folder(home / "photos", FILES)
    write_archive(home / "p.zip", FILES)
    write_archive(home / "p.tar.gz", {f"photos/{n}": c for n, c in FILES.items()})
    write_folder(home / "red", {f"{i}.png": make_png(900 + i, 20) for i in range(9)})
    write_archive(home / "red.zip", {f"red/{i}.png": make_png(900 + i, 20) for i in range(9)})
    lines = [(f"photos/{name}", name.split("/")[0]) for name in FILES]
    (home / "t.csv").write_text("path,label\n" + "".join(f"{p},{c}\n" for p, c in lines))
    (home / "t.jsonl").write_text("".join(f'{{"path": "{p}", "label": "{c}"}}\n' for p, c in lines))
    (home / "l.txt").write_text("".join(f"{p}\n" for p, _ in lines))
    old = Path.cwd()
    os.chdir(home)
    try:
        assert run(["fit", "photos", "--out", "kinds", *ENCODER, "--method", "GDA"]) == 0
        assert run(["detect", "fit", "photos", "--out", "normal", *ENCODER]) == 0
    finally:
        os.chdir(old)
    return home


@pytest.fixture
def home(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shared)
    listed = "\0".join(f"photos/{name}" for name in FILES)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(listed.encode())))
    return shared


def run_json(capsys: pytest.CaptureFixture[str], *args: str, code: int = 0) -> object:
    capsys.readouterr()
    assert run([*args, "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", SOURCES)
def test_predict(kind: str, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    assert run(["predict", "kinds", SOURCES[kind][0], "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["name"] for row in rows] == [name.split("/")[0] for name in FILES]
    assert all(row["path"].endswith(name) for row, name in zip(rows, FILES, strict=True))


@pytest.mark.parametrize("kind", SOURCES)
def test_detect(kind: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run_json(capsys, "detect", "score", "normal", SOURCES[kind][0])
    assert isinstance(rows, list)
    assert len(rows) == len(FILES)
    source = "photos" if kind == "standard input" else SOURCES[kind][0]
    value = run_json(capsys, "detect", "fit", source, "--out", str(tmp_path / "d"), *ENCODER)
    assert isinstance(value, dict)
    assert value["images"] == len(FILES)


@pytest.mark.parametrize("kind", LABELLED)
def test_fit_evaluate_check_and_rank(
    kind: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = SOURCES[kind][0]
    report = run_json(capsys, "check", source)
    assert isinstance(report, dict)
    assert report["counts"]["classes"] == {"dark": 24, "light": 24}
    out = str(tmp_path / "kinds")
    fitted = run_json(capsys, "fit", source, "--out", out, *ENCODER, "--method", "GDA")
    assert isinstance(fitted, dict)
    assert fitted["intake"]["used"] == len(FILES)
    assert (tmp_path / "kinds" / "report.html").read_text().count("data:image") > 0
    scores = run_json(capsys, "evaluate", "kinds", source)
    assert isinstance(scores, dict)
    assert scores["n"] == len(FILES)
    ranked = run_json(capsys, "rank", source, *ENCODER)
    assert isinstance(ranked, dict)
    assert ranked["images"] == len(FILES)


@pytest.mark.parametrize("kind", LABELLED)
def test_audit(kind: str, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.csv"
    args = ["audit", SOURCES[kind][0], "--out", str(out), "--fraction", "0", *ENCODER]
    assert run(args) == 0
    assert len(list(csv.DictReader(out.read_text().splitlines()))) == len(FILES)


@pytest.mark.parametrize("kind", SOURCES)
def test_adapt_and_discover(
    kind: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = SOURCES[kind][0]
    value = run_json(capsys, "adapt", "kinds", source, "--out", str(tmp_path / "adapted"))
    assert isinstance(value, dict)
    assert value["classes"] == ["dark", "light"]
    if kind == "standard input":
        return  # read to its end
    args = ["--out", str(tmp_path / "groups"), "--groups", "1", "--all"]
    assert run(["discover", "kinds", source, *args]) == 0
    rows = list(csv.DictReader((tmp_path / "groups" / "groups.csv").read_text().splitlines()))
    assert len(rows) == len(FILES)


def test_copies_of_groups_come_from_the_archive(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "groups"
    args = ["discover", "kinds", "red.zip", "--out", str(out), "--groups", "1", "--all"]
    assert run(args) == 0
    copies = sorted(path for path in out.rglob("*.png"))
    assert len(copies) == 9
    assert {path.read_bytes() for path in copies} == {make_png(900 + i, 20) for i in range(9)}
    assert (out / "groups.html").read_text().count("data:image") == 9


@pytest.mark.parametrize("source", ["red", "red.zip", "red/*.png"])
def test_add(source: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ("--class-images", "red", source, "--out", str(tmp_path / "more"))
    value = run_json(capsys, "add", "kinds", *args)
    assert isinstance(value, dict)
    assert value["classes"] == ["dark", "light", "red"]


def test_the_same_in_python(home: Path) -> None:
    classifier = ilk.load("kinds")
    for source in ("photos/", Path("p.zip"), "photos/*/*.png", "t.csv", ["photos", "red.zip"][:1]):
        predictions = classifier.predict(source)
        assert [p.name for p in predictions] == [name.split("/")[0] for name in FILES]
        assert classifier.predict_proba(source).shape == (len(FILES), 2)
    mixed = classifier.predict(["red.zip", "photos/dark/00.png", make_png(1)])
    assert [p.path for p in mixed[8:]] == ["red.zip/red/8.png", "photos/dark/00.png", "image 10"]
    fitted = ilk.fit("p.zip", encoders="pixels/8x8x3", methods="GDA")
    assert fitted.predict("p.zip")[0].name == "dark"


def test_several_labels_per_image(home: Path, tmp_path: Path) -> None:
    table = "file_name,label\n" + "".join(
        f"{name},{'dim; ' * (i % 2)}{name.split('/')[0]}\n" for i, name in enumerate(FILES)
    )
    write_archive(tmp_path / "m.zip", {**FILES, "metadata.csv": table.encode()})
    options = ["--multi-label", *ENCODER, "--method", "Ridge"]
    out = str(tmp_path / "k")
    assert run(["fit", str(tmp_path / "m.zip"), "--out", out, *options]) == 0
    assert (tmp_path / "k" / "report.html").read_text().count("data:image") > 0
    assert run(["predict", out, "p.zip", "--out", str(tmp_path / "x.csv")]) == 0
    assert (tmp_path / "x.csv").read_text().count("\n") == len(FILES) + 1


def test_what_cannot_be_read_is_one_sentence(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 not much")
    for source, sentence in (
        ("none/*.png", "no file matches none/*.png"),
        ("none.csv", "there is no file none.csv"),
        (str(tmp_path / "a.zip"), "is not a readable zip archive"),
    ):
        for args in (["predict", "kinds"], ["detect", "score", "normal"], ["check"]):
            assert run([*args, source]) == 2
            error = capsys.readouterr().err.strip().splitlines()[-1]
            assert error.startswith("ilk: ")
            assert sentence in error or "there is no folder or file none.csv" in error
