"""No command overwrites what ilk did not write, and no model lies among the images."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import ilk
from helpers.archives import make_classes, make_png, write_archive, write_folder
from ilk.artifacts.output_files import check_output_file, check_outside_sources
from ilk.cli import run
from ilk.core.errors import InputError, OutputError

QUICK = ("--encoder", "pixels/8x8x3", "--method", "GDA")
FILES = make_classes(8)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "photos", FILES)
    write_archive(tmp_path / "p.zip", FILES)
    lines = [f"photos/{name},{name.split('/')[0]}\n" for name in FILES]
    Path("t.csv").write_text("path,label\n" + "".join(lines))
    return tmp_path


@pytest.fixture
def model(home: Path) -> str:
    assert run(["fit", "photos", "--out", "kinds", *QUICK]) == 0
    assert run(["detect", "fit", "photos", "--out", "normal", "--encoder", "pixels/8x8x3"]) == 0
    return "kinds"


def list_files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


WRITERS = {
    "check": ["check", "{source}"],
    "predict": ["predict", "kinds", "{source}"],
    "evaluate": ["evaluate", "kinds", "{source}"],
    "rank": ["rank", "{source}", "--encoder", "pixels/8x8x3"],
    "audit": ["audit", "{source}", "--encoder", "pixels/8x8x3", "--fraction", "0"],
    "detect": ["detect", "score", "normal", "{source}"],
}


@pytest.mark.parametrize("command", WRITERS)
def test_no_command_overwrites_an_image_or_anything_else_of_the_user(
    command: str, home: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Path("photos/dark/0.png")
    Path("beside").mkdir()
    links = []
    for suffix in (".csv", ".json", ".tsv", ".jsonl", ".parquet"):
        for kind, link in (("soft", Path.symlink_to), ("hard", Path.hardlink_to)):
            path = Path("beside", f"{kind}{suffix}")
            link(path, image.resolve())
            links.append(str(path))
    Path("labels.csv").write_text("path,label,split\na.png,cat,train\n")
    Path("coco.json").write_text('{"images": [{"id": 1}], "annotations": []}')
    Path("list.json").write_text('[{"path": "a.png", "name": "cat"}]')
    Path("list.jsonl").write_text('{"path": "a.png", "label": "cat"}\n')
    Path("notes.tsv").write_text("mine\n")
    before = list_files(home)
    for target in (
        *(str(image), "photos/dark/1.PNG", *links, "labels.csv", "coco.json", "list.json"),
        *("list.jsonl", "notes.tsv", "t.csv", "p.zip", "photos", "photos/metadata.csv"),
        *("metadata.parquet", "kinds/model.json", "nodir/x.csv", "nodir/x.json", "p.zip/x.csv"),
    ):
        for source in ("photos", "t.csv", "p.zip", "photos/**/*.png"):
            args = [part.format(source=source) for part in WRITERS[command]]
            code = run([*args, "--out", target])
            assert code in (2, 5), (target, source)
            assert capsys.readouterr().err.strip().splitlines()[-1].startswith("ilk: ")
    assert list_files(home) == before


@pytest.mark.parametrize("command", WRITERS)
def test_what_a_command_wrote_it_may_replace(command: str, home: Path, model: str) -> None:
    suffixes = {"predict": (".csv", ".tsv", ".json", ".jsonl", ".parquet")}.get(
        command, (".csv",) if command in ("audit", "detect") else (".json",)
    )
    for suffix in suffixes:
        if suffix == ".parquet":
            pytest.importorskip("pyarrow")
        out = Path(f"x{suffix}")
        for source in ("photos", "p.zip"):
            args = [part.format(source=source) for part in WRITERS[command]]
            before = out.read_bytes() if out.exists() else b""
            assert run([*args, "--out", str(out)]) == 0
            assert out.read_bytes() != before or command in ("evaluate", "rank")
        assert not Path(f"x{suffix}.part").exists()
        out.write_bytes(b"")  # as from mktemp
        assert run([*args, "--out", str(out)]) == 0


def test_rows_among_the_images_are_no_images_of_the_next_run(home: Path, model: str) -> None:
    for _ in range(2):
        assert run(["predict", "kinds", "photos", "--out", "photos/x.csv"]) == 0
        assert Path("photos/x.csv").read_text().count("\n") == len(FILES) + 1


def test_an_output_that_cannot_be_written_ends_before_any_work(
    home: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ilk.artifacts.loading.load", None)  # the model is not opened
    assert run(["predict", "kinds", "photos", "--out", "nodir/x.csv"]) == 5
    if os.path.isdir("/proc"):
        with pytest.raises(OutputError, match=r"cannot write /proc/x\.csv"):
            check_output_file(Path("/proc/x.csv"), (".csv",))


def test_the_same_file_under_another_name_is_found(home: Path) -> None:
    Path("link").symlink_to(home / "photos", target_is_directory=True)
    with pytest.raises(InputError, match="is the source itself"):
        check_output_file(Path("photos/../t.csv"), (".csv",), ["t.csv"])
    Path("deep").symlink_to(home / "photos" / "dark", target_is_directory=True)
    for folder in ("photos/kinds", "link/kinds", "photos", "link", ".", "deep/a/b", "deep", ".."):
        with pytest.raises(OutputError, match="whose files are read as images"):
            check_outside_sources(Path(folder), "photos")
        with pytest.raises(OutputError, match="whose files are read as images"):
            check_outside_sources(Path(folder), ["p.zip", "link/**/*.png"])
    for folder in ("kinds", "photos-2", "photos.model"):
        assert check_outside_sources(Path(folder), "photos") == Path(folder)
        assert check_outside_sources(Path(folder), ["t.csv", "p.zip", "*/*.png", "-"])
    assert check_outside_sources(Path("photos/kinds"), "t.csv")  # a table lists its images


@pytest.mark.parametrize(
    "args",
    [
        ["fit", "photos", *QUICK],
        ["fit", "photos/**/*.png", *QUICK],
        ["detect", "fit", "photos", "--encoder", "pixels/8x8x3"],
        ["adapt", "kinds", "photos"],
        ["add", "kinds", "--class-images", "red", "photos"],
        ["discover", "kinds", "photos"],
        ["pretrain", "photos"],
    ],
)
def test_no_model_lies_among_its_images(
    args: list[str], home: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list_files(home)
    Path("link").symlink_to(home / "photos", target_is_directory=True)
    for out in ("photos/new", "link/new", "photos"):
        assert run([*args, "--out", out]) == 5
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "name a folder beside it, such as " in error
    assert {k: v for k, v in list_files(home).items() if "/link/" not in k} == before


def test_a_classifier_knows_the_folder_that_it_was_fitted_to(home: Path) -> None:
    classifier = ilk.fit("photos", encoders="pixels/8x8x3", methods="GDA")
    with pytest.raises(OutputError, match="photos/kinds lies in photos"):
        classifier.save("photos/kinds")
    assert classifier.save("kinds") == Path("kinds")
    from_table = ilk.fit("t.csv", encoders="pixels/8x8x3", methods="GDA")
    assert from_table.save("other")


def test_drawn_images_replace_only_drawn_images(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from ilk.diffusion.generation.images import write_samples

    samples = torch.zeros(2, 1, 4, 4)
    photo = tmp_path / "photo.png"
    photo.write_bytes(make_png(1))
    with pytest.raises(OutputError, match="was not drawn by ilk"):
        write_samples(samples, photo)
    assert photo.read_bytes() == make_png(1)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "00001.png").write_bytes(make_png(1))
    with pytest.raises(OutputError, match=r"00001\.png exists and was not drawn"):
        write_samples(samples, tmp_path / "folder")
    for _ in range(2):
        write_samples(samples, tmp_path / "grid.png")
        write_samples(samples, tmp_path / "new")


def test_a_report_says_what_was_read(home: Path) -> None:
    assert run(["check", "p.zip", "--out", "r.json"]) == 0
    assert json.loads(Path("r.json").read_text())["root"] == "p.zip"
