"""What a new process imports before it can score with a saved classifier."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import ilk
from ilk.fitting.config import FitConfig
from ilk.store import Store
from tests.helpers.digit_folders import write_digits

HEAVY = ("torch", "sklearn", "scipy", "pandas", "matplotlib", "timm", "openvino", "onnxruntime")
LIST_HEAVY = f"print(*sorted({{name.split('.')[0] for name in sys.modules}} & set({HEAVY!r})))"
SCORE = """
import sys
import numpy as np
from ilk.artifacts.load_classifier import load
classifier = load(sys.argv[1])
scored = classifier.score_batch(np.zeros((3, len(classifier.ood_detector.centre)), np.float32))
assert np.isfinite(scored.probabilities).all()
"""


def run_and_list(code: str, *arguments: str) -> list[str]:
    """Run code in a new process and return the heavy packages that it imported."""
    command = [sys.executable, "-c", code + LIST_HEAVY, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("method", ["GDA", "Ridge"])
def test_a_saved_classifier_scores_without_heavy_packages(tmp_path: Path, method: str) -> None:
    home = write_digits(tmp_path / "digits", {"0": 12, "1": 12})
    config = FitConfig(encoders=("pixels",), methods=(method,))
    classifier = ilk.fit(ilk.read(home), config, store=Store(tmp_path / "store.sqlite"))
    classifier.save(tmp_path / "kinds")
    assert run_and_list(SCORE, str(tmp_path / "kinds")) == []


@pytest.mark.parametrize("module", ["ilk.artifacts.classifier", "ilk.fitting.fit"])
def test_heavy_packages_are_imported_when_they_are_needed(module: str) -> None:
    assert run_and_list(f"import sys, {module}\n") == []
