"""The benchmarks of duplicates run small; their measures are those of their names."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.duplicate_leaks import run as duplicate_leaks
from benchmarks.duplicates import run as duplicates
from benchmarks.duplicates.folders import Folder
from benchmarks.duplicates.rivals import find_recalls, group_pairs, score
from helpers.drawn_pictures import draw
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


def encode(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def test_copies_are_found_in_a_small_run(monkeypatch):
    raw = [(f"{i}.png", encode(draw(i))) for i in range(60)]
    monkeypatch.setattr(calibration, "N_ORIGINALS", 5)
    monkeypatch.setattr(duplicates, "read_raw", lambda _name: raw)
    result = json.loads(json.dumps(duplicates.run(small=True), allow_nan=False))
    own, *rivals = result["planted copies"]
    assert own["method"] == "ilk duplicates"
    assert own["precision of pairs"]["mean"] > 0.9
    assert own["recall of pairs"]["mean"] > max(r["recall of pairs"]["mean"] for r in rivals[:2])


def test_leaks_are_left_out_in_a_small_run(monkeypatch):
    labels = duplicate_leaks.CLASSES
    pictures = [(draw(i), labels[i % len(labels)]) for i in range(100)]
    monkeypatch.setattr(calibration, "N_ORIGINALS", 5)
    monkeypatch.setattr(duplicate_leaks, "_read", lambda _n: pictures)
    monkeypatch.setattr(duplicate_leaks, "METHODS", ("GDA",))
    result = json.loads(json.dumps(duplicate_leaks.run(small=True), allow_nan=False))
    (row,) = result["methods"]
    assert 0 < row["training pictures left out for it"]["mean"] <= 40
