"""A pretraining run that was killed between any two of its files ends as one that was not."""

import json
import os
from pathlib import Path

from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.pretraining import pretrain as pretraining
from ilk.diffusion.pretraining.pretrain import LOG, PretrainConfig, pretrain
from ilk.training.trainer import Recipe
from tests.diffusion.test_pretrain import BLOBS, data

PLAN = PretrainConfig(
    Recipe(steps=2, batch_size=8, warmup=1), options={"width": 8, "levels": [1]}, checkpoint_every=1
)


class Killed(BaseException):
    """Not an error that anyone handles, as a kill is not."""


def read(folder: Path) -> dict[str, object]:
    files: dict[str, object] = {
        path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")
    }
    lines = map(json.loads, (folder / LOG).read_text().splitlines())
    files[LOG] = [(line["updates"], line["loss"]) for line in lines]
    return files


def test_a_run_that_is_killed_at_any_file_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "ROWS", 1)  # pictures cost more than updates
    monkeypatch.setattr(pretraining, "COLUMNS", 1)
    pretrain(data(), BLOBS, PLAN, tmp_path / "whole")
    expected = read(tmp_path / "whole")
    assert len(expected[LOG]) == 2
    replace, n_killed = os.replace, 0
    for n_calls in range(100):
        folder, left = tmp_path / str(n_calls), n_calls

        def stop(source, target):
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", stop)
            try:
                pretrain(data(), BLOBS, PLAN, folder)
                break
            except Killed:
                n_killed += 1
        pretrain(data(), BLOBS, PLAN, folder)
        assert read(folder) == expected
        assert saved.read_spec(folder).metadata["updates"] == 2
    assert n_killed > 15
