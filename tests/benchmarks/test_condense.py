"""Condensed digits: what is compared, and that it runs."""

import json

import numpy as np
import pytest
import torch

from benchmarks.condense import run as condense
from benchmarks.condense import sets
from ilk.core.data import Data


@pytest.fixture
def digits(monkeypatch):
    rng = np.random.default_rng(0)
    y = np.arange(10_000) % 10
    x = rng.random((10, 784), np.float32)[y]
    data = Data(x, y, tuple("0123456789"))
    monkeypatch.setattr(sets, "read_mnist", lambda _part: data)


def test_fresh_rows_were_not_looked_at():
    fresh = set(sets.find_fresh_rows(10_000))
    seen = set(np.random.default_rng(0).permutation(10_000)[:3000])
    seen |= set(torch.randperm(10_000, generator=torch.Generator().manual_seed(0))[:3000].tolist())
    assert not fresh & seen
    assert len(fresh) == 10_000 - len(seen)
    assert len(fresh) > sets.N_TEST


def test_one_texture_is_behind_all_digits():
    blank = torch.zeros(6, 1, 28, 28, dtype=torch.uint8)
    blank[0, 0, 3, 4] = 255
    digits = sets.Digits(blank, torch.arange(6), blank[:2], np.arange(2))
    painted = sets.add_texture(digits, 0)
    assert painted.x[0, 0, 3, 4] == 255  # the digit stays in front
    contents = {tuple(np.sort(x.numpy().ravel())) for x in (*painted.x[1:], painted.x_test[1])}
    assert len(contents) == 1  # the same texture, shifted
    assert len(torch.unique(painted.x[1:], dim=0)) > 1
    assert painted.x[1:].max() == round(255 * sets.TEXTURE)


def test_the_benchmark_runs(digits):
    result = json.loads(json.dumps(condense.run(small=True), allow_nan=False))
    names = {row["method"] for row in result["tables"][0]["scores"]}
    assert {condense.MEANS, condense.HERDING, condense.DISTANCES, condense.CROPS} <= names
    assert set(result["bar"]) == {"required", "accuracy", "verdicts", "met"}
    assert len(result["gain_by_texture"]) == 3
