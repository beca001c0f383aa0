"""What the benchmark of lost workers calls whole is whole."""

import numpy as np
import pytest
from PIL import Image

from benchmarks.cluster.run import check, encode_here, make_folder, summarize_kills
from ilk.images import read_images
from ilk.shards.manifest import Manifest


@pytest.fixture
def folders(tmp_path):
    """A shard folder and another with the same images, both encoded here."""
    rng = np.random.default_rng(0)
    for i in range(12):
        path = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8)).save(path)
    Manifest.write(tmp_path / "list", read_images(tmp_path / "photos"), shard_size=5)
    made = [make_folder(tmp_path / "list", tmp_path / name) for name in "xy"]
    for folder in made:
        assert encode_here(folder, "pixels/4x4x3", "local")["images_per_second"] > 0
    return made


def test_a_lost_or_cut_part_is_not_whole(folders):
    mine, reference = folders
    assert check(mine, reference) == {"whole": True, "identical": True}
    part = sorted(mine.glob("features/*/part-*"))[1]
    content = part.read_bytes()
    part.write_bytes(content[:-20])
    assert check(mine, reference) == {"whole": False, "identical": False}
    part.unlink()
    assert check(mine, reference) == {"whole": False, "identical": False}


def test_a_run_counts_as_good_only_if_everything_is():
    good = {"whole": True, "identical": True, "exit_code": 0, "hit": True, "seconds": 1.0}
    runs = [good, {**good, "exit_code": 1}, {**good, "whole": False}, {**good, "hit": False}]
    counts = summarize_kills(runs, 4)
    assert (counts["good"], counts["hit"], counts["whole"], counts["runs"]) == (2, 3, 3, 4)
