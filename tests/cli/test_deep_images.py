"""Value ranges and pages from the command line: fit keeps a range, and other commands use it."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from helpers.archives import write_archive, write_folder
from helpers.format_examples import save
from ilk.cli import run as ilk_command
from ilk.images.inspection.members import Member
from ilk.updates import suggestions

KINDS = ("bar", "disc")


class Output(NamedTuple):
    stdout: str
    stderr: str


def run(*arguments: Any, code: int = 0) -> Output:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        found = ilk_command([str(a) for a in arguments])
    assert found == code, out.getvalue() + err.getvalue()
    return Output(out.getvalue(), err.getvalue())


def draw(kind: str, seed: int, scale: float) -> Image.Image:
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    y, x = np.mgrid[:24, :24]
    a, b = rng.uniform(8, 16, 2)
    inside = abs(y - a) < 3 if kind == "bar" else (y - a) ** 2 + (x - b) ** 2 < 40
    values = np.where(inside, 0.2, 0.8) + rng.normal(0, 0.03, (24, 24))
    return Image.fromarray(np.rint(values.clip(0, 1) * scale).astype(np.uint16))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind in KINDS:
        (tmp_path / "d" / kind).mkdir(parents=True)
        for i in range(12):
            draw(kind, i, 4095).save(tmp_path / "d" / kind / f"{i}.png")
    return tmp_path / "d"


@pytest.fixture
def model(folder: Path, tmp_path: Path) -> Path:
    out = tmp_path / "model"
    run("fit", folder, "--out", out, "--encoder", "pixels/8x8x1", "--method", "GDA")
    return out


def test_the_range_is_found_kept_and_used(folder: Path, model: Path, tmp_path: Path) -> None:
    assert "black and white are 0 to 4,095" in run("check", folder).stderr
    described = json.loads((model / "model.json").read_text())
    assert described["value_ranges"] == {"integer": [0, 4095]}
    assert "0 to 4,095" in (model / "report.html").read_text()
    new = tmp_path / "new"
    new.mkdir()
    for kind in KINDS:
        draw(kind, 90, 4095).save(new / f"{kind}.png")
    draw("bar", 91, 1000).save(new / "dark.png")
    draw("bar", 92, 9000).save(new / "bright.png")
    Image.new("I;16", (24, 24), 7).save(new / "flat.png")
    result = run("predict", model, new, "--json")
    rows = {Path(row["path"]).name: row for row in json.loads(result.stdout)}
    assert [rows[f"{kind}.png"]["name"] for kind in KINDS] == list(KINDS)
    assert "note" not in rows["dark.png"]
    assert "are clipped to 0 to 4,095" in rows["bright.png"]["note"]
    assert "near-constant" in rows["flat.png"]["note"]
    assert "bright.png: values" in result.stderr
    alone = json.loads(run("predict", model, new / "dark.png", "--json").stdout)[0]
    assert alone["unknown_score"] == rows["dark.png"]["unknown_score"]  # whatever lies beside it


def test_every_command_reads_with_the_range_of_the_model(
    folder: Path, model: Path, tmp_path: Path
) -> None:
    assert json.loads(run("evaluate", model, folder, "--json").stdout)["accuracy"]["value"] == 1
    for arguments in (
        ("predict", model, folder),
        ("evaluate", model, folder),
        ("adapt", model, folder, "--out", tmp_path / "adapted"),
    ):
        result = run(*arguments, "--value-range", "0-255", code=2)
        assert "the model was fitted with a value range of its own" in result.stderr
    run("adapt", model, folder, "--out", tmp_path / "adapted", "--force")
    assert "4095" in (tmp_path / "adapted" / "model.json").read_text()
    more = tmp_path / "more" / "cross"
    more.mkdir(parents=True)
    for i in range(8):
        values = np.asarray(draw("disc", 200 + i, 1000)).T  # another range, were it measured
        Image.fromarray(np.ascontiguousarray(values)).save(more / f"{i}.png")
    run("add", model, more.parent, "--out", tmp_path / "added", "--force")
    rows = json.loads((tmp_path / "added" / "intake.json").read_text())["rows"]
    assert {tuple(row["value_range"]) for row in rows} == {(0, 4095)}


def test_a_detector_keeps_the_range(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "detector"
    run("detect", "fit", folder, "--out", out, "--encoder", "pixels/8x8x1")
    assert json.loads((out / "model.json").read_text())["value_ranges"] == {"integer": [0, 4095]}
    dark = tmp_path / "dark.png"
    draw("bar", 3, 1000).save(dark)
    alone = run("detect", "score", out, dark).stdout.splitlines()[1]
    beside = run("detect", "score", out, dark, folder / "bar" / "1.png").stdout.splitlines()[1]
    assert alone == beside
    bright = tmp_path / "bright.png"
    draw("bar", 3, 9000).save(bright)
    assert "are clipped to 0 to 4,095" in run("detect", "score", out, bright).stderr


def test_values_outside_the_wish_of_the_user(folder: Path) -> None:
    result = run("check", folder, "--value-range", "0-100000")
    assert "near-constant" in result.stderr
    assert "LOW-HIGH" in run("check", folder, "--value-range", "many", code=2).stderr


def test_pages_are_predicted_one_by_one(model: Path, tmp_path: Path) -> None:
    scan = tmp_path / "s" / "scan.tif"
    scan.parent.mkdir()
    pages = [draw(kind, 95, 4095) for kind in KINDS]
    scan.write_bytes(save(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    rows = json.loads(run("predict", model, scan, "--pages", "all", "--json").stdout)
    assert [(row["path"], row["name"]) for row in rows] == [
        (f"{scan}[1]", "bar"),
        (f"{scan}[2]", "disc"),
    ]
    result = run("predict", model, scan, "--json")
    assert [row["note"] for row in json.loads(result.stdout)] == [
        "the first of 2 pages or frames (--pages all)"
    ]
    assert "1 image has a note" in result.stderr
    result = run("check", scan.parent, "--pages", "all", "--json")
    paths = [row["path"] for row in json.loads(result.stdout)["rows"]]
    assert {"scan.tif[1]", "scan.tif[2]"} <= set(paths)
    assert "1 file has several pages" in run("check", scan.parent).stderr


def test_pages_are_learned_and_shown(tmp_path: Path) -> None:
    for kind in KINDS:
        (tmp_path / "d" / kind).mkdir(parents=True)
        first, *others = [draw(kind, i, 4095) for i in range(10)]
        scan = save(first, "TIFF", save_all=True, append_images=others)
        (tmp_path / "d" / kind / "scan.tif").write_bytes(scan)
    model = tmp_path / "model"
    run(
        *("fit", tmp_path / "d", "--out", model, "--pages", "all"),
        *("--encoder", "pixels/8x8x1", "--method", "GDA"),
    )
    rows = json.loads((model / "intake.json").read_text())["rows"]
    assert len(rows) == 20
    assert {row["page"] for row in rows} == set(range(1, 11))


INPUTS = Path(__file__).parents[3] / "shared" / "inputs" / "make_inputs.py"


@pytest.mark.skipif(not INPUTS.exists(), reason="the inputs of bug reports are not here")
def test_inputs_of_bug_reports(tmp_path: Path) -> None:
    specification = spec_from_file_location("make_inputs", INPUTS)
    assert specification is not None
    assert specification.loader is not None
    module = module_from_spec(specification)
    was, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    specification.loader.exec_module(module)
    sys.dont_write_bytecode = was
    for name in ("twelve_bit", "formats"):
        (tmp_path / name).mkdir()
        getattr(module, name)(tmp_path / name)
    assert "0 to 4,095" in run("check", tmp_path / "twelve_bit").stderr
    result = run("check", tmp_path / "formats", "--json", code=1)
    rows = {row["path"]: row for row in json.loads(result.stdout)["rows"]}
    assert rows["multi.tif"]["n_pages"] == rows["anim.gif"]["n_pages"] == 3
    assert rows["x.pgm"]["format"] == rows["x.ppm"]["format"] == "PNM"
    assert "camera raw file" in rows["a.dng"]["detail"]
    assert "DICOM" in rows["x.dcm"]["detail"]
    assert "2 files have several pages" in result.stderr


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_groups_hold_each_page_and_not_its_file(model: Path, tmp_path: Path, form: str) -> None:
    pages = draw_stripes(6)
    files = {"scan.tif": save(pages[0], "TIFF", save_all=True, append_images=pages[1:])}
    source = (
        write_folder(tmp_path / "scans", files)
        if form == "folder"
        else write_archive(tmp_path / "scans.zip", files)
    )
    out = tmp_path / "groups"
    for _ in range(2):  # the second finds the same ones
        run("discover", model, source, "--pages", "all", "--all", "--out", out)
    rows = list(csv.DictReader((out / "groups.csv").read_text().splitlines()))
    assert [Path(row["copy"]).name for row in rows] == [f"scan.tif[{i}].png" for i in range(1, 7)]
    copies = [out / row["copy"] for row in rows]
    of_copies = json.loads(run("predict", model, *copies, "--json").stdout)
    of_pages = json.loads(run("predict", model, source, "--pages", "all", "--json").stdout)
    assert [row["unknown_score"] for row in of_copies] == [row["unknown_score"] for row in of_pages]
    assert len({path.read_bytes() for path in copies}) == 6


def test_a_copy_whose_archive_has_changed_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{i}.png": save(image, "PNG") for i, image in enumerate(draw_stripes(6))}
    source = write_archive(tmp_path / "a.zip", files)

    monkeypatch.setattr(suggestions, "_copy_image", _change_first(monkeypatch))
    assert (
        "the archive has changed"
        in run("discover", model, source, "--all", "--out", tmp_path / "groups", code=5).stderr
    )
    assert not list((tmp_path / "groups").glob("group-*/*.png"))


def draw_stripes(n: int) -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 300, (n, 24, 24))
    stripes = np.where(np.arange(24) // 4 % 2, 3600, 200)
    return [Image.fromarray((stripes + one).astype(np.uint16)) for one in noise]


def _change_first(monkeypatch: pytest.MonkeyPatch) -> Any:
    copy = suggestions._copy_image

    def change_and_copy(*arguments: Any) -> None:
        monkeypatch.setattr(Member, "read", lambda _member: b"other")
        copy(*arguments)

    return change_and_copy


def test_evaluate_says_each_note_once(model: Path, folder: Path) -> None:
    first = draw("bar", 7, 2000)
    (folder / "bar/scan.tif").write_bytes(
        save(first, "TIFF", save_all=True, append_images=[draw("bar", 8, 2000)])
    )
    Image.new("I;16", (24, 24), 7).save(folder / "disc/flat.png")
    notes = json.loads(run("evaluate", model, folder, "--json").stdout)["notes"]
    assert len(set(notes)) == len(notes)
    assert any("several pages" in note for note in notes)
    assert any("near-constant" in note for note in notes)
    result = run("evaluate", model, folder)
    text = " ".join((result.stderr + result.stdout).split())
    starts = [" ".join(note.split())[:40] for note in notes]  # later, options have other names
    assert [text.count(start) for start in starts] == [1] * len(notes)
