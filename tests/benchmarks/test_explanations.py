"""The benchmark of explanations: a small run."""

import pytest

from benchmarks.runner import shared_path
from ilk.core.errors import Unavailable


@pytest.fixture(autouse=True)
def _needs_shared_data():
    try:
        shared_path("data", "mnist")
        shared_path("data", "fashion_mnist")
    except Unavailable as error:
        pytest.skip(str(error))


def test_every_explainer_is_measured_beside_controls():
    from benchmarks.explanations.run import CONTROLS, explain_canvases, make_tables, summarize_seeds

    found = explain_canvases(600, 2, 8, 0)
    assert {"occlusion", "rise", "grad-cam", *CONTROLS} <= set(found["rows"])
    summary = summarize_seeds([found])
    assert set(summary["verdicts"]) == {"maps on the digit", "maps off the digit", *CONTROLS}
    assert set(summary["explainers"]["rise"]["randomization"]) == {"head", "network"}
    assert len(make_tables([found])) == 3
