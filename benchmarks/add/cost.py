"""The cost of extending a classifier of simulated classes: the update alone, and `ilk add`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ilk.artifacts.classifier import Classifier
from ilk.core.data import Data, Features, Labels
from ilk.images.pixels import PixelEncoder
from ilk.maths.gaussian import compute_statistics
from ilk.methods.gda import GDA
from ilk.trust.calibration import Calibration
from ilk.trust.conformal import ConformalPredictor
from ilk.trust.out_of_distribution import OutOfDistributionDetector
from ilk.trust.summary_statistics import (
    SummaryStatistics,
    select_first_rows,
    shuffle_within_classes,
)
from ilk.updates.extend import extend_classifier

N_CLASSES, N_HELD_OUT = 100, 2_000


def simulate_classes(y: Labels, d: int, seed: int) -> Features:
    """Draw rows `[n, d]` of Gaussian classes `y`, in features with falling variances."""
    means = np.random.default_rng(1234).standard_normal((N_CLASSES + 1, d), np.float32)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((len(y), d), np.float32) + means[y] * np.float32(4 / np.sqrt(d))
    return np.asarray(x * np.linspace(2, 0.1, d, dtype=np.float32))


def build_classifier(n: int, d: int, k: int, head: str) -> tuple[Classifier, Data]:
    """Return a classifier of `k` simulated classes and its `n` training rows.

    The rows that stand for the held-out ones are drawn separately. The out-of-distribution detector
    is fitted to a tenth of the rows, since it is not timed.
    """
    y = np.arange(n) % k
    data = Data(simulate_classes(y, d, 0), y, tuple(f"class {c}" for c in range(k)))
    y = np.arange(2 * N_HELD_OUT) % k
    x = simulate_classes(y, d, 1)
    stats, model = compute_statistics(data.x, data.y, k), GDA().fit(data)
    subset = data.take(np.arange(max(len(data) // 10, min(len(data), 2 * d))))
    logits = model.logits(x)
    detector = OutOfDistributionDetector.fit(subset, np.zeros(0), 0.05)
    ood_scores = detector.score(x)
    order = shuffle_within_classes(y)
    rows = order[select_first_rows(y[order], stats.counts, d)]
    calibration = Calibration.fit(logits[rows], y[rows])
    p = calibration.to_probabilities(logits[rows])
    classifier = Classifier(
        data.classes,
        PixelEncoder(16, d // 48, 3) if d % 48 == 0 else PixelEncoder(1, d, 1),
        model,
        calibration,
        ConformalPredictor.fit(p, y[rows], 0.9, ood_scores[rows]),
        detector.with_threshold(ood_scores[rows]),
        metadata={"method": head},
        summary_statistics=SummaryStatistics.from_statistics(
            stats, x[rows], y[rows], logits[rows], ood_scores[rows]
        ),
    )
    return classifier, data


def measure_update(n: int, d: int, k: int, n_new: int) -> dict[str, Any]:
    """Time the update and compare the extended GDA with batch GDA of all rows."""
    base, data = build_classifier(n, d, k, "GDA()")
    new_x = simulate_classes(np.full(n_new, N_CLASSES), d, 2)
    new_data = Data(new_x, np.zeros(n_new, np.int64), ("new",))
    figures: dict[str, Any] = {"rows": n, "features": d, "classes": k, "new rows": len(new_data)}
    for name, head in (("GDA", "GDA()"), ("unchanged head", "Ridge()")):
        classifier = replace(base, metadata={"method": head})
        times = [_time_update(classifier, new_data) for _ in range(3)]
        figures[f"seconds, {name}"] = min(wall for wall, _ in times)
        figures[f"CPU seconds, {name}"] = min(cpu for _, cpu in times)
    extended, report = extend_classifier(base, new_data, force=True)
    all_data = Data(
        np.concatenate([data.x, new_data.x]), np.append(data.y, new_data.y + k), extended.classes
    )
    batch_logits = GDA().fit(all_data).logits(data.x[:N_HELD_OUT])
    updated_logits = extended.model.logits(data.x[:N_HELD_OUT])
    figures["largest logit difference from batch GDA"] = float(
        np.max(np.ptp(updated_logits - batch_logits, axis=1))
    )
    figures["largest change between two old logits"] = report.max_logit_change
    figures["median winning margin"] = report.median_margin
    figures["old predictions unchanged"] = report.old_agreement
    unchanged, _ = extend_classifier(
        replace(base, metadata={"method": "Ridge()"}), new_data, force=True
    )
    is_same = unchanged.model.logits(data.x[:N_HELD_OUT])[:, :k] == base.model.logits(
        data.x[:N_HELD_OUT]
    )
    figures["old logits of the unchanged head are bitwise identical"] = bool(is_same.all())
    return figures


def _time_update(classifier: Classifier, new_data: Data) -> tuple[float, float]:
    start, cpu = time.perf_counter(), time.process_time()
    extend_classifier(classifier, new_data, force=True)
    return time.perf_counter() - start, time.process_time() - cpu


def time_command(n: int, k: int, images: int) -> dict[str, Any]:
    """Time `ilk add` from the shell on a classifier of `k` classes, with images to encode."""
    from PIL import Image

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        build_classifier(n, 768, k, "GDA()")[0].save(home / "classifier")
        (home / "new").mkdir()
        for i in range(images):
            pixels = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(home / "new" / f"{i}.png")
        code = "from ilk.cli.add import command; command()"
        args = ["classifier", "--class-images", "new", "new"]
        start = time.perf_counter()
        process = subprocess.run(
            [sys.executable, "-c", code, *args],
            cwd=home,
            env={**os.environ, "ILK_STORE": str(home / "store.sqlite")},
            check=True,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - start
        folder_bytes = sum(file.stat().st_size for file in (home / "classifier").iterdir())
    return {
        "seconds": seconds,
        "images": images,
        "folder size, MiB": folder_bytes / 2**20,
        "output": next(line for line in process.stdout.splitlines() if "added in" in line),
    }
