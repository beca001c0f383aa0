"""The benchmark of distillation runs small."""

import json

import pytest

from benchmarks.distill import run as distill
from benchmarks.runner import shared_path
from ilk.core.errors import Unavailable


def test_small_run_gives_json(tmp_path, monkeypatch):
    try:
        shared_path("data", "mnist")
    except Unavailable as error:
        pytest.skip(str(error))
    monkeypatch.setenv("ILK_TRIALS", str(tmp_path))
    result = json.loads(json.dumps(distill.run(small=True), allow_nan=False))
    [table] = result["tables"]
    assert [s["method"] for s in table["scores"]] == [
        "teacher (cnn-100k)",
        "distilled",
        "labels alone",
    ]
    costs = result["sets"]["mnist"]["cost"]
    assert costs["student"]["parameters"] <= 15_000 < costs["teacher"]["parameters"]
    assert costs["student"]["multiply_adds"] < costs["teacher"]["multiply_adds"]
