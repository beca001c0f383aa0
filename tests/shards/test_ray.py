"""Shards on Ray: one cluster is started, in a process of its own; the rest needs none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.deadly_encoder import ALWAYS, ONCE
from ilk.core.errors import ArtifactError, IlkError, InputError, Unavailable
from ilk.images import read_images
from ilk.shards import ray_cluster, ray_engine, ray_step
from ilk.shards.features import ShardedFeatures
from ilk.shards.manifest import Manifest
from ilk.shards.engines import EngineOptions
from ilk.shards.ray_cluster import plan_actors
from ilk.shards.ray_engine import Watch
from ilk.shards.ray_step import LOST, Desk, Event, StepConfig, check_worker

ROOT = Path(__file__).parents[2]
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


def make_shards(tmp_path: Path, first_pixels: list[int], shard_size: int = 5) -> Path:
    """Shards of images whose first pixel is given."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i, first in enumerate(first_pixels):
        pixels = rng.integers(100, 255, (8, 8, 3), np.uint8)
        pixels[0, 0] = first
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i:03}.png")
    folder = tmp_path / "shards"
    Manifest.write(folder, read_images(tmp_path / "images"), shard_size=shard_size)
    return folder


@needs_ray
def test_lost_workers_are_replaced_and_a_shard_that_kills_them_is_named(tmp_path: Path) -> None:
    first = [200] * 30
    first[12], first[22] = ONCE, ALWAYS
    folder = make_shards(tmp_path, first)
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "helpers.run_on_ray", str(folder)],
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)  # nothing but the result is on standard output
    assert "shard 4 could not be encoded: its worker died 3 times" in result["error"]
    assert any(
        line.startswith("the worker of shard 2 died; attempt 2 of 3") for line in result["lines"]
    )
    assert result["images"] <= 30  # those of a lost worker are not counted twice
    parts = sorted((folder / "features").glob("*/part-*.parquet"))
    assert [int(p.stem[-5:]) for p in parts] == [0, 1, 2, 3, 5]
    assert not list(folder.glob(".ray-*"))
    assert not list(tmp_path.glob("ilk-ray-*"))
