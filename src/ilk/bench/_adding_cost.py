"""What growing a classifier costs, on simulated classes: the update alone, and `ilk add` whole."""

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

from ilk.classifier import Classifier
from ilk.data import Data, Features, Labels
from ilk.encoders.pixels import Pixels
from ilk.living.growing import grow
from ilk.maths.gaussian import class_statistics
from ilk.methods.gda import GDA
from ilk.trust.calibrate import Calibration
from ilk.trust.conformal import Sets
from ilk.trust.kept import Kept, drawn, first
from ilk.trust.unknown import Unknown

CLASSES, HELD = 100, 2_000


def simulated(y: Labels, d: int, seed: int) -> Features:
    """Rows of Gaussian classes `y` in `d` features with falling variances."""
    means = np.random.default_rng(1234).standard_normal((CLASSES + 1, d), np.float32)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((len(y), d), np.float32) + means[y] * np.float32(4 / np.sqrt(d))
    return np.asarray(x * np.linspace(2, 0.1, d, dtype=np.float32))


def at_scale(n: int, d: int, k: int, head: str) -> tuple[Classifier, Data]:
    """A classifier of `k` simulated classes and `n` rows, and the rows.

    Rows that stand for those held out were drawn anew. The Gaussian of the unknown is fitted to a
    tenth of the rows: it is not what is timed.
    """
    y = np.arange(n) % k
    data = Data(simulated(y, d, 0), y, tuple(f"class {c}" for c in range(k)))
    y = np.arange(2 * HELD) % k
    x = simulated(y, d, 1)
    stats, model = class_statistics(data.x, data.y, k), GDA().fit(data)
    few = data.rows(np.arange(max(len(data) // 10, min(len(data), 2 * d))))
    logits = model.logits(x)
    unknown = Unknown.fit(few, np.zeros(0), 0.05)
    far = unknown.score(x)
    order = drawn(y)
    at = order[first(y[order], stats.counts, d)]
    calibration = Calibration.fit(logits[at], y[at])
    p = calibration.probabilities(logits[at])
    made = Classifier(
        data.classes,
        Pixels(16, d // 48, 3) if d % 48 == 0 else Pixels(1, d, 1),
        model,
        calibration,
        Sets.fit(p, y[at], 0.9, far[at]),
        unknown.limited(far[at]),
        about={"method": head},
        kept=Kept.made(stats, x[at], y[at], logits[at], far[at]),
    )
    return made, data


def costs(n: int, d: int, k: int, new: int) -> dict[str, Any]:
    """Seconds of `grow`, and how the grown GDA differs from batch GDA of all rows."""
    made, data = at_scale(n, d, k, "GDA()")
    fresh = simulated(np.full(new, CLASSES), d, 2)
    added = Data(fresh, np.zeros(new, np.int64), ("new",))
    told: dict[str, Any] = {"rows": n, "features": d, "classes": k, "new rows": len(added)}
    for name, head in (("GDA", "GDA()"), ("a head that is left as it is", "Ridge()")):
        classifier = replace(made, about={"method": head})
        times = [_timed(classifier, added) for _ in range(3)]
        told[f"seconds, {name}"] = min(wall for wall, _ in times)
        told[f"processor seconds, {name}"] = min(cpu for _, cpu in times)
    grown, growth = grow(made, added, anyway=True)
    whole = Data(np.concatenate([data.x, added.x]), np.append(data.y, added.y + k), grown.classes)
    batch = GDA().fit(whole).logits(data.x[:HELD])
    ours = grown.model.logits(data.x[:HELD])
    told["greatest difference of logits from batch GDA"] = float(
        np.max(np.ptp(ours - batch, axis=1))
    )
    told["greatest change between two old logits"] = growth.moved
    told["median winning margin"] = growth.gap
    told["old answers as before"] = growth.old_same
    kept, _ = grow(replace(made, about={"method": "Ridge()"}), added, anyway=True)
    same = kept.model.logits(data.x[:HELD])[:, :k] == made.model.logits(data.x[:HELD])
    told["old logits of the other head are the same to the bit"] = bool(same.all())
    return told


def _timed(classifier: Classifier, added: Data) -> tuple[float, float]:
    began, cpu = time.perf_counter(), time.process_time()
    grow(classifier, added, anyway=True)
    return time.perf_counter() - began, time.process_time() - cpu


def whole_command(n: int, k: int, images: int) -> dict[str, Any]:
    """Seconds of `ilk add` from the shell, on a folder of `k` classes, with images to encode."""
    from PIL import Image

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        at_scale(n, 768, k, "GDA()")[0].save(home / "kinds")
        (home / "new").mkdir()
        for i in range(images):
            pixels = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(home / "new" / f"{i}.png")
        code = "from ilk.cli.add import command; command()"
        args = ["kinds", "--class", "new", "new"]
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code, *args],
            cwd=home,
            env={**os.environ, "ILK_STORE": str(home / "store.sqlite")},
            check=True,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - began
        folder = sum(file.stat().st_size for file in (home / "kinds").iterdir())
    return {
        "seconds": seconds,
        "images": images,
        "size of the folder, MiB": folder / 2**20,
        "it said": next(line for line in done.stdout.splitlines() if "added in" in line),
    }
