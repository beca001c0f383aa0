"""Patients with several shots each that differ by noise, and new patients of the same world."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image, ImageDraw

from ilk.artifacts.evaluation import evaluate_images
from ilk.fitting import fit as fit_module
from ilk.fitting.config import FitConfig
from ilk.images import read_images
from ilk.store import Store

SHOTS, NOISE, SIDE = 6, 6, 32
METHODS = ("GDA", "Ridge", "KNearest")


def measure(home: Path, seed: int, signal: float, n_patients: int) -> dict[str, float]:
    """Return accuracies and coverages, by cross-validation and on new patients.

    Args:
        home: Empty folder.
        seed: Seed of the world.
        signal: Share of patients whose label is what their picture shows; the others' is drawn.
        n_patients: Number of patients that are learned.
    """
    rng = np.random.default_rng(seed)
    store = Store(home / "store.sqlite")
    old = read_images(*_write(home / "old", rng, signal, n_patients), store=store)
    new = read_images(*_write(home / "new", rng, signal, 60), store=store)
    config = FitConfig(encoders=("hog",), methods=METHODS, seed=seed)
    with patch.object(fit_module, "hold_together", lambda state, *_: state):
        plain, plain_report = fit_module.fit_with_report(old, config, store=store)
    held, report = fit_module.fit_with_report(old, config, store=store)
    assert plain_report.scores is not None
    truth = evaluate_images(held, new, store=store)[0]
    plain_truth = evaluate_images(plain, new, store=store)[0]
    store.close()
    found = report.held_together
    assert found is not None, "the clusters were not found"
    return {
        "dealt one by one": plain_report.scores.accuracy.value,
        "clusters held together": found.accuracy.value,
        "interval holds the accuracy on new patients": float(
            found.accuracy.low <= truth.scores.accuracy.value <= found.accuracy.high
        ),
        "new patients": truth.scores.accuracy.value,
        "coverage on new patients, dealt one by one": plain_truth.coverage.value,
        "coverage on new patients, clusters held together": truth.coverage.value,
        "the suggested option names the patients": float(
            found.option == r"--group-from '^(p\d+)_'"
        ),
    }


def _write(folder: Path, rng: np.random.Generator, signal: float, n: int) -> tuple[Any, ...]:
    """Write the pictures of patients; return their paths and labels."""
    folder.mkdir()
    paths, labels = [], []
    for p in range(n):
        is_disc = bool(rng.random() < 0.5)
        base = _draw(rng, is_disc)
        label = is_disc if rng.random() < signal else bool(rng.random() < 0.5)
        for s in range(SHOTS):
            pixels = np.clip(base + rng.integers(-NOISE, NOISE + 1, base.shape), 0, 255)
            path = folder / f"p{p:02}_{s}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(path)
            paths.append(path)
            labels.append("ill" if label else "well")
    # Paths of a folder, as a table beside the pictures gives them.
    table = folder / "labels.csv"
    lines = [f"{path.name},{label}" for path, label in zip(paths, labels, strict=True)]
    table.write_text("\n".join(["path,label", *lines]) + "\n")
    return (table,)


def _draw(rng: np.random.Generator, is_disc: bool) -> np.ndarray[Any, Any]:
    """Return a disc or a cross at a random place, `[SIDE, SIDE, 3]`."""
    image = Image.new("RGB", (SIDE, SIDE), tuple(rng.integers(160, 230, 3).tolist()))
    x, y, size = (int(v) for v in (*rng.integers(10, 22, 2), rng.integers(5, 9)))
    ink = tuple(rng.integers(0, 90, 3).tolist())
    draw = ImageDraw.Draw(image)
    if is_disc:
        draw.ellipse((x - size, y - size, x + size, y + size), fill=ink)
    else:
        draw.line((x - size, y - size, x + size, y + size), fill=ink, width=3)
        draw.line((x - size, y + size, x + size, y - size), fill=ink, width=3)
    return np.asarray(image).astype(np.int64)
