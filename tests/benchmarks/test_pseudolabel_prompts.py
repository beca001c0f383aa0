"""The benchmark of pseudo-labelled prompts runs small; its prompt starts at the names."""

import json

import numpy as np
import pytest
import torch

from benchmarks.pseudolabel_prompts import run as prompts
from benchmarks.pseudolabel_prompts.towers import NOTHING, draw_captions
from benchmarks.runner import shared_path
from ilk.core.errors import Unavailable


def test_small_run_gives_json(tmp_path, monkeypatch):
    try:
        shared_path("data", "mnist")
        shared_path("data", "usps")
    except Unavailable as error:
        pytest.skip(str(error))
    pytest.importorskip("h5py")
    result = json.loads(json.dumps(prompts.run(small=True), allow_nan=False))
    assert len(result["tables"]) == 12
    assert [t["metric"] for t in result["tables"][:3]] == list(prompts.METRICS)
    for world in prompts.WORLDS:
        shares = [share for share, _ in result["rounds"][world]["words, GRIP"][0]]
        assert shares == sorted(shares)
        assert shares[-1] == 1


def test_captions_name_half_of_the_digits():
    words = torch.arange(24).view(1, 8, 3)[..., 0].expand(2000, 8)
    tokens = draw_captions(words, torch.full((2000,), 7), torch.Generator().manual_seed(0))
    named = (tokens[:, -1] == 24 + 7).float().mean()
    assert 0.45 < float(named) < 0.55
    properties = tokens[:, :-1]
    assert set(np.unique(properties)) == {*range(0, 24, 3), NOTHING}
    assert {int(n) for n in (properties == NOTHING).sum(1).unique()} == {0, 1, 2, 3}
