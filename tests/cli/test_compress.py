"""`ilk compress`: what is written, and what is refused in one sentence with nothing lost."""

from __future__ import annotations

import errno
import json
import shutil

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from export.conftest import save_images
from helpers.compressed_networks import write_network
from ilk.cli import run
from ilk.core import atomic_write


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with images, and models of them on a network and on pixels."""
    home = tmp_path_factory.mktemp("compress")
    save_images(home / "photos")
    write_network(home / "network")
    for name, encoder in (("kinds", f"compressed:{home / 'network'}"), ("plain", "pixels/6x6x3")):
        args = ["fit", str(home / "photos"), "--out", str(home / name), "--encoder", encoder]
        assert run([*args, "--method", "GDA"]) == 0
    return home


def test_a_folder_that_works_on_its_own(home, tmp_path, capsys):
    small = tmp_path / "small"
    assert run(["compress", str(home / "kinds"), "--out", str(small)]) == 0
    out = capsys.readouterr().out
    assert "mean set size" in out
    assert "the network is in 8 bits" in " ".join(out.split())
    assert out.splitlines()[-1] == f"next   ilk predict {small} IMAGES"
    moved = tmp_path / "moved"
    shutil.move(small, moved)
    picture = str(home / "photos" / "kind 0" / "0.jpg")
    capsys.readouterr()
    assert run(["predict", str(moved), picture, "--json"]) == 0
    assert "kind 0" in capsys.readouterr().out
    assert run(["evaluate", str(moved), str(home / "photos"), "--force"]) in (0, 2)
    assert "Updates after the fit" in (moved / "report.html").read_text()


def test_pruned_as_json_and_a_file(home, tmp_path, capsys):
    args = ["compress", str(home / "kinds"), "--prune", "0.3", "--max-loss", "1"]
    capsys.readouterr()
    assert run([*args, "--out", str(tmp_path / "small"), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["int8"] is False
    assert value["multiply_adds"][1] < value["multiply_adds"][0]
    assert run([*args, "--int8", "--out", str(tmp_path / "small.onnx")]) == 0
    assert (tmp_path / "small.onnx").read_bytes().count(b"QuantizeLinear") > 4


def refuse(capsys, *args):
    """Run a command that is refused; return its one sentence."""
    capsys.readouterr()
    assert run(["compress", *map(str, args)]) not in (0, 1)
    captured = capsys.readouterr().err.strip().splitlines()
    [line] = [text for text in captured if text.startswith("ilk:")]
    return line


def test_what_is_refused(home, tmp_path, capsys):
    kinds, out = home / "kinds", tmp_path / "small"
    before = {p: p.read_bytes() for p in kinds.rglob("*") if p.is_file() and p.name[0] != "."}
    assert "--out is the model itself" in refuse(capsys, kinds, "--out", kinds)
    text = refuse(capsys, home / "plain", "--out", out)
    assert "pixels/6x6x3 has no network, so there is nothing to compress" in text
    few = save_images(tmp_path / "few", n=5, seed=3)
    text = refuse(capsys, kinds, "--out", out, "--check-images", few)
    assert "40 labelled images" in text
    assert "--check-images" in text
    text = refuse(capsys, kinds, "--out", out, "--float32")
    assert "neither 8 bits nor pruning" in text
    text = refuse(capsys, tmp_path / "nothing", "--out", out)
    assert "nothing contains no ilk classifier" in text
    text = refuse(capsys, kinds, "--out", tmp_path)
    assert "choose an empty folder" in text
    text = refuse(capsys, kinds, "--out", home / "photos" / "small")
    assert "whose files are read as images" in text
    assert not (home / "photos" / "small").exists()
    assert not out.exists()
    assert before == {p: p.read_bytes() for p in before}


def test_without_its_images_the_command_asks_for_some(home, tmp_path, capsys):
    copy = shutil.copytree(home / "kinds", tmp_path / "kinds")
    path = copy / "intake.json"
    path.write_text(path.read_text().replace("photos", "gone"))
    text = refuse(capsys, copy, "--out", tmp_path / "small")
    assert "name labelled ones with --check-images DIR" in text


def test_a_full_disk_leaves_nothing_half_written(home, tmp_path, capsys, monkeypatch):
    out = tmp_path / "small"
    original = atomic_write.replace_atomically

    def fill(path, write, **options):
        def fail(_temporary):
            raise OSError(errno.ENOSPC, "No space left on device")

        is_network = path.name.startswith("network.onnx")
        return original(path, fail if is_network else write, **options)

    monkeypatch.setattr("ilk.core.folder_transaction.replace_atomically", fill)
    text = refuse(capsys, home / "kinds", "--out", out)
    assert "No space left on device; free some space" in text
    assert not (out / "model.json").exists()
