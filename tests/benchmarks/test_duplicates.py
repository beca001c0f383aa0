"""The benchmarks of duplicates run small; their measures are those of their names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.duplicates.folders import Folder
from benchmarks.duplicates.rivals import find_recalls, group_pairs, score
from benchmarks.runner import shared_path
from ilk.core.errors import Unavailable
from ilk.deduplication import calibration
from ilk.images import Images


def test_scores_of_pairs_and_groups():
    blank = Image.new("RGB", (4, 4))
    kind = ("", "", "", "mirrored", "mirrored", "turned by 5°")
    folder = Folder(Images(Path(), ()), [blank] * 6, np.array([0, 1, 2, 0, 1, 0]), kind)
    assert folder.true_pairs == {(0, 3), (0, 5), (3, 5), (1, 4)}
    pairs = {(0, 3), (1, 4), (2, 4)}
    found = score(folder, pairs, group_pairs(pairs))
    assert found["precision of pairs"] == pytest.approx(2 / 3)
    assert found["recall of pairs"] == pytest.approx(2 / 4)
    assert found["precision of groups"] == pytest.approx(1 / 2)
    assert found["recall of groups"] == 0
    assert find_recalls(folder, pairs) == {"mirrored": 1.0, "turned by 5°": 0.0}


@pytest.mark.parametrize("name", ["duplicates", "duplicate_leaks"])
def test_small_run_gives_json(name, monkeypatch):
    try:
        shared_path("data", "mnist")
    except Unavailable as error:
        pytest.skip(str(error))
    from importlib import import_module

    monkeypatch.setattr(calibration, "N_ORIGINALS", 5)
    result = json.loads(json.dumps(import_module(f"benchmarks.{name}.run").run(small=True)))
    if name == "duplicates":
        own, *rivals = result["planted copies"]
        assert own["method"] == "ilk duplicates"
        assert own["precision of pairs"]["mean"] > 0.9
        assert own["recall of pairs"]["mean"] > max(
            r["recall of pairs"]["mean"] for r in rivals[:2]
        )
    else:
        for row in result["methods"]:
            assert 0 < row["training pictures left out for it"]["mean"] <= 40
