"""The benchmarks of compression run on a small part and return what the documentation reads."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")

from benchmarks.compress import run as compress
from benchmarks.runner import shared_path
from benchmarks.sparse_pruning import run as sparse_pruning
from benchmarks.transformer_fusion import run as transformer_fusion
from ilk.core.errors import Unavailable


@pytest.fixture(autouse=True)
def _trials(tmp_path, monkeypatch):
    try:
        shared_path("data", "pacs_subset")
    except Unavailable as error:
        pytest.skip(str(error))
    monkeypatch.setenv("ILK_TRIALS", str(tmp_path))


def test_8_bits():
    result = json.loads(json.dumps(compress.run(small=True), allow_nan=False))
    layers = result["engines"]["openvino_layers"]
    assert layers["float32"] == {"layers": 49, "in 8 bits": 0}
    assert layers["8 bits"] == {"layers": 49, "in 8 bits": 49}
    assert result["costs"]["8 bits"]["size_ratio"] < 0.3
    assert set(result["bars"]) >= {"accuracy_reached", "coverage_reached", "speed_reached"}
    assert result["summary"]["8 bits"]["seeds"] == 1


def test_pruning_after_a_penalty():
    result = json.loads(json.dumps(sparse_pruning.run(small=True), allow_nan=False))
    assert [table["seeds"] for table in result["tables"]] == [2, 2, 2]
    assert set(result["accuracy"]["L1"]) == {str(f) for f in sparse_pruning.FRACTIONS}


def test_fusion():
    result = json.loads(json.dumps(transformer_fusion.run(small=True), allow_nan=False))
    assert len(result["change_by_exact_alignment_with_one_map"]) == 2
    [one_shot, tuned] = result["tables"]
    assert len(one_shot["scores"]) == 7
    assert len(tuned["scores"]) == 4
