"""`ilk export`: what is written, and what is refused before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.digit_folders import write_digits
from ilk.cli import run


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("export")
    write_digits(home / "digits", {"one 1": 24, "two 2": 24})
    args = ["fit", str(home / "digits"), "--out", str(home / "model"), "--encoder", "pixels/8x8x1"]
    assert run([*args, "--method", "GDA"]) == 0
    return home


def test_file_runner_and_card(home, tmp_path, capsys):
    capsys.readouterr()
    file, card = tmp_path / "digits.onnx", tmp_path / "model-card.md"
    args = ["export", str(home / "model"), "--onnx", str(file), "--runner", "--card", str(card)]
    for _ in range(2):  # what it wrote is replaced
        assert run(args) == 0
    out = capsys.readouterr().out
    assert "compared on 48 images (those that it was fitted to): names, sets and unknown" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "digits.onnx",
        "model-card.md",
        "run_model.py",
    ]
    assert "0 names, 0 sets and 0 unknown flags differ" in card.read_text()
    assert run([*args, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["parity"]["n_images"] == 48
    assert value["bytes"] == file.stat().st_size


def test_images_of_the_user_and_a_limit(home, tmp_path, capsys):
    args = ["export", str(home / "model"), "--onnx", str(tmp_path / "m.onnx")]
    folder = str(home / "digits" / "one 1")
    assert run([*args, "--check-images", folder, "--max-images", "7"]) == 0
    assert f"compared on 7 images ({folder})" in capsys.readouterr().out.replace("\n", " ")


REFUSED = {
    "nothing": ([], 2, "nothing to write"),
    "no file": (["--int8"], 2, "nothing to write"),
    "card alone": (["--card", "{tmp}/c.md", "--runner"], 2, "need a file: --onnx model.onnx"),
    "suffix": (["--onnx", "{tmp}/m.bin"], 2, "must be .onnx"),
    "foreign": (["--onnx", "{tmp}/foreign.onnx"], 5, "was not written by ilk"),
    "no folder": (["--onnx", "{tmp}/a/m.onnx"], 5, "there is no folder"),
    "foreign card": (["--card", "{tmp}/readme.md"], 5, "was not written by ilk"),
    "no network": (["--onnx", "{tmp}/m.onnx", "--int8"], 2, "has no network"),
    "no images": (["--onnx", "{tmp}/m.onnx", "--check-images", "{tmp}/none"], 2, "none"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_sentence_and_nothing_lost(home, tmp_path, capsys, case):
    args, code, sentence = REFUSED[case]
    (tmp_path / "foreign.onnx").write_bytes(b"\x08\x07\x12\x07pytorch")
    (tmp_path / "readme.md").write_text("# mine")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    args = [arg.format(tmp=tmp_path) for arg in args]
    assert run(["export", str(home / "model"), *args]) == code
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert "Traceback" not in captured.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_models_and_no_model(home, tmp_path, capsys):
    normal = tmp_path / "normal"
    args = ["detect", "fit", str(home / "digits" / "one 1"), "--out", str(normal)]
    assert run([*args, "--encoder", "pixels/8x8x1"]) == 0
    assert run(["export", str(normal), "--onnx", str(tmp_path / "m.onnx")]) == 4
    assert run(["export", str(tmp_path / "none"), "--onnx", str(tmp_path / "m.onnx")]) == 4
    table = tmp_path / "several.csv"
    files = sorted(Path(home / "digits").glob("*/*.png"))
    lines = [f"{file},{'odd;low' if 'one' in str(file) else 'even;low'}" for file in files]
    table.write_text("\n".join(["path,label", *lines]))
    args = ["fit", str(table), "--multi-label", "--out", str(tmp_path / "several")]
    assert run([*args, "--encoder", "pixels/8x8x1"]) == 0
    capsys.readouterr()
    assert run(["export", str(tmp_path / "several"), "--onnx", str(tmp_path / "m.onnx")]) == 2
    assert "several labels per image is not exported" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()
