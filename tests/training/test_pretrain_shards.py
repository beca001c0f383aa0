"""Pretraining from a shard folder: as from the images, and across lost processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from helpers.noise_images import write_two_classes
from ilk.cli.pretrain import command
from ilk.core.errors import InputError, Unavailable
from ilk.diffusion.pretraining import shard_pixels
from ilk.images import read_images
from ilk.shards.manifest import Manifest
from ilk.training import distributed
from ilk.training.stored_images import StoredImages

ROOT = Path(__file__).parents[2]
SETTINGS = ["--image-size", "8", "--width", "8", "--updates", "6", "--batch-size", "8"]
SETTINGS += ["--folds", "0", "--device", "cpu"]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of 40 images of two classes with a copy and a damaged file, and shards of it."""
    home, rng = tmp_path / "photos", np.random.default_rng(0)
    pixels = (rng.integers(0, 255, (9, 10, 3), np.uint8) for _ in range(40))
    write_two_classes(home, map(Image.fromarray, pixels))
    (home / "dog" / "copy.png").write_bytes((home / "dog" / "04.png").read_bytes())
    (home / "cat" / "cut.png").write_bytes((home / "cat" / "01.png").read_bytes()[:-90])
    shards = tmp_path / "shards"
    Manifest.write(shards, read_images(home), shard_size=7)
    return home, shards


def test_256_levels_survive_float16() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    stored = (levels.numpy()[:, None] / np.float32(255)).astype(np.float16)
    rows = np.arange(256)
    images = StoredImages(stored, rows, torch.zeros(256, dtype=torch.int64), (1, 1, 1))
    assert torch.equal(images.x.flatten(), levels)
    order = torch.tensor([7, 3, 250, 3])
    assert torch.equal(images.take(order, "cpu").x.flatten(), levels[order])
    assert torch.equal(images.select(order).x.flatten(), levels[order])
    assert torch.equal(torch.cat(list(images.iterate(100))).flatten(), levels)


def read_networks(home: Path) -> dict[str, bytes]:
    """The files of a model that depend on its training."""
    return {p.name: p.read_bytes() for p in sorted(home.glob("*.safetensors"))}


def test_shards_and_the_folder_give_the_same_network(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    photos, shards = folders
    for source, out in ((photos, "a"), (shards, "b")):
        words = [str(source), "--out", str(tmp_path / out), *SETTINGS]
        done = CliRunner().invoke(command, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
    expected = read_networks(tmp_path / "a")
    assert {"diffusion.safetensors", "training_images.safetensors"} <= expected.keys()
    assert read_networks(tmp_path / "b") == expected


def test_options_that_the_list_of_images_decides_are_refused(folders: tuple[Path, Path]) -> None:
    words = [str(folders[1]), "--out", "never", "--label-column", "x"]
    with pytest.raises(InputError, match="whose list of images says labels"):
        CliRunner().invoke(command, words, catch_exceptions=False)


def run_two(shards: Path, out: Path, mark: Path | None = None) -> tuple[int, str]:
    """Run two processes; return the exit code and what they print. One is killed if told so."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    launch = ["--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    script = ["--max-restarts", "0", "-m", "helpers.pretrain_with_checkpoints"]
    words = [*launch, *script, str(shards), "--out", str(out), *SETTINGS]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words],
        env={**os.environ, "PYTHONPATH": path, "KILL_MARK": str(mark or "")},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_run_that_lost_a_process_and_is_repeated_ends_as_one_that_did_not(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    shards, mark = folders[1], tmp_path / "killed once"
    assert run_two(shards, tmp_path / "calm")[0] == 0
    parts = {p: p.stat().st_mtime_ns for p in shards.glob("features/*/part-*")}
    assert len(parts) == 6  # each process has encoded its own
    code, said = run_two(shards, tmp_path / "killed", mark)
    assert code != 0, said
    assert mark.exists(), said
    code, said = run_two(shards, tmp_path / "killed", mark)  # what --max-restarts does by itself
    assert code == 0, said
    assert {p: p.stat().st_mtime_ns for p in parts} == parts  # and nothing was encoded again
    expected = read_networks(tmp_path / "calm")
    assert {"diffusion.safetensors", "state.safetensors"} <= expected.keys()
    assert read_networks(tmp_path / "killed") == expected
    assert not list(shards.glob(".ranks-*"))


def test_a_process_that_sees_another_folder_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard_pixels.check_shared_folder(tmp_path, 0)  # one process sees what it sees
    monkeypatch.setattr(distributed, "is_distributed", lambda: True)
    monkeypatch.setattr(distributed, "is_main_process", lambda: False)
    monkeypatch.setattr(distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(distributed, "share_text", lambda _text: ".ranks-of-the-first")
    monkeypatch.setattr(distributed, "wait_for_all", lambda: None)
    with pytest.raises(Unavailable, match="process 1 does not see"):
        shard_pixels.check_shared_folder(tmp_path, 0)
    (tmp_path / ".ranks-of-the-first").touch()
    shard_pixels.check_shared_folder(tmp_path, 0)
