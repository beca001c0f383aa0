"""The benchmarks of searches on little data, and what their parts compute."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.search import run as search
from benchmarks.search.worlds import INTRINSIC, ClusteredRows, estimate_dimension
from benchmarks.search_quality import run as quality
from ilk.core.errors import Unavailable
from ilk.maths.top_k import find_top_k


def test_every_kind_is_measured_against_the_truth() -> None:
    pytest.importorskip("usearch")
    result = json.loads(json.dumps(search.run(small=True), allow_nan=False))
    (collection,) = result["collections"]
    rows = {row["kind"]: row for row in collection["rows"]}
    assert rows["Exact"]["recall_at_10"] == 1
    assert rows["HNSW"]["recall_at_10"] > 0.9
    codes = rows["HashCodes(bits=64, rerank=0)"]
    assert codes["recall_at_10"] < rows["Exact(dtype='float16')"]["recall_at_10"]
    assert codes["bytes"] < 0.05 * rows["Exact"]["bytes"]
    floor = rows["Exact"]["floor_seconds"]
    assert floor == pytest.approx(2_000 * 768 * 4 / result["bandwidth_bytes_per_second"])
    assert result["whole_call"]["kinds"]["HashCodes"]["printed_recall"]["n_queries"] == 100


def test_simulated_rows_have_the_stated_dimension() -> None:
    world = ClusteredRows(3)
    x = world.draw(500)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, rtol=1e-5)
    y = np.random.default_rng(0).random(size=(3_000, 5)).astype(np.float32)
    near = np.sort(np.linalg.norm(y[:400, None] - y[None], axis=2), axis=1)[:, 1:3]
    assert estimate_dimension(1 - near**2 / 2) == pytest.approx(5, rel=0.2)
    assert world.frames.shape[2] == INTRINSIC


def test_the_truth_of_the_first_rows_leaves_the_others_out() -> None:
    x = ClusteredRows(1).draw(300)
    parts = [(np.arange(200), x[:200]), (np.arange(200, 300), x[200:])]
    expected, _ = find_top_k(x[:7], np.arange(250), x[:250], search.K)
    np.testing.assert_array_equal(search._search_first(parts, x[:7], 250), expected)


def test_projections_are_scored_on_new_classes() -> None:
    try:
        result = json.loads(json.dumps(quality.run(small=True), allow_nan=False))
    except Unavailable:
        pytest.skip("../shared is not there")
    scores = {s["method"] for s in result["tables"][0]["scores"]}
    assert {"cosine", "LDA", "Whitening", "Centring", "kept by trial"} == scores
    assert len(result["kept"][0]["kept"]) == 2
    assert "query alone" in {s["method"] for s in result["tables"][-1]["scores"]}
