"""Are pictures that were saved again found, and is their effect on the accuracy reported?

Near-duplicates: of real pictures of four kinds (photographs and paintings of PACS, CIFAR-10, MNIST,
Fashion-MNIST), some are added once more in another form; a pair is right if both show the same
picture. Compared with `ilk check` are a DCT hash alone, the average hash and the difference hash,
each with at most 10 of 64 bits. Independent pictures: the share that `ilk fit` puts into clusters.
Patients: 24 with six shots each, whose label is a third or four fifths what the picture shows; the
accuracy by cross-validation with images dealt one by one and with clusters held together, against
the accuracy on new patients, and the coverage of the 90 % sets there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.near_duplicates import cost, patients
from benchmarks.near_duplicates.hashes import METHODS
from benchmarks.near_duplicates.variants import VARIANTS
from benchmarks.runner import summarize
from benchmarks.shared_files import decode_image, iterate_archive
from ilk.encoders import resolve_encoder
from ilk.fitting.dependence import find_clusters
from ilk.images import Images, Row
from ilk.images.duplicates.perceptual_hash import stack_thumbnails
from ilk.images.inspection.pixel_summary import summarize_pixels

SETS = {  # archive, part of the path, position of the class in the path
    "PACS photographs and paintings": ("pacs_subset", "pacs_subset.tar.gz", ("photo", "art"), -2),
    "CIFAR-10": ("cifar10_jpeg", "cifar10_jpeg.tar.gz", ("test/",), -2),
    "MNIST": ("mnist", "mnist_train_20k_png.tar.gz", ("train/",), -2),
    "Fashion-MNIST": ("fashion_mnist", "fashion_mnist_png.tar.gz", ("test/",), -2),
}
SEEDS, N_PICTURES, N_COPIES = 3, 400, 60
SIGNALS, WORLDS, N_PATIENTS = (0.33, 0.8), 8, 24

Pictures = list[tuple[str, str, Image.Image]]  # path, class, picture


def run(small: bool = False) -> dict[str, Any]:
    """Return recall and false pairs, shares of independent pictures, patients, and costs."""
    names = ["MNIST"] if small else list(SETS)
    n, n_copies, seeds = (60, 5, 1) if small else (N_PICTURES, N_COPIES, SEEDS)
    found, independent = [], []
    for name in names:
        pictures = _read(name)
        found += _compare(name, pictures, n, n_copies, seeds)
        independent.append(_measure_independent(name, pictures, 200 if small else 2000, seeds))
    return {
        "seeds": seeds,
        "pictures per seed": n,
        "copies of each kind": n_copies,
        "near-duplicates": found,
        "independent pictures": independent,
        "patients": [
            _measure_patients(signal, 1 if small else WORLDS)
            for signal in (SIGNALS[:1] if small else SIGNALS)
        ],
        "summaries": cost.measure_summaries(3 if small else 30),
        "search": cost.measure_search((2_000,) if small else (10_000, 100_000)),
    }


def _read(name: str) -> Pictures:
    """Return the pictures of a set."""
    folder, archive, parts, position = SETS[name]
    return [
        (path, path.split("/")[position], decode_image(raw, "RGB"))
        for path, raw in iterate_archive(folder, archive)
        if path.endswith((".png", ".jpg")) and any(part in path for part in parts)
    ]


def _draw(pictures: Pictures, n: int, seed: int) -> Pictures:
    order = np.random.default_rng(seed).permutation(len(pictures))
    return [pictures[i] for i in order[:n]]


def _compare(
    name: str, pictures: Pictures, n: int, n_copies: int, seeds: int
) -> list[dict[str, Any]]:
    """Return recall per kind of copy and false pairs of each method."""
    recalls: dict[str, dict[str, list[float]]] = {m: {k: [] for k in VARIANTS} for m in METHODS}
    precisions: dict[str, list[float]] = {method: [] for method in METHODS}
    false_pairs: dict[str, list[float]] = {method: [] for method in METHODS}
    for seed in range(seeds):
        originals = [image for _, _, image in _draw(pictures, n, seed)]
        rng = np.random.default_rng(seed)
        copies = [
            (i, kind) for kind in VARIANTS for i in rng.permutation(len(originals))[:n_copies]
        ]
        shown = [*originals, *(VARIANTS[kind](originals[i], rng) for i, kind in copies)]
        source = np.array([*range(n), *(i for i, _ in copies)])
        for method, find in METHODS.items():
            pairs = find(shown)
            is_right = [source[a] == source[b] for a, b in pairs]
            precisions[method].append(float(np.mean(is_right)) if pairs else float("nan"))
            false_pairs[method].append(1000 * sum(a < n and b < n for a, b in pairs) / n)
            for kind in VARIANTS:
                hits = [(i, n + j) in pairs for j, (i, k) in enumerate(copies) if k == kind]
                recalls[method][kind].append(float(np.mean(hits)))
    return [
        {
            "set": name,
            "method": method,
            "recall": {kind: summarize(values) for kind, values in recalls[method].items()},
            "precision": summarize(precisions[method]),
            "false pairs per 1,000 distinct pictures": summarize(false_pairs[method]),
        }
        for method in METHODS
    ]


def _measure_independent(name: str, pictures: Pictures, n: int, seeds: int) -> dict[str, Any]:
    """Return the share of independent pictures that are put into clusters, and if they matter."""
    encoder = resolve_encoder("hog", images=Images(None, ()))
    shares, matter = [], []
    for seed in range(seeds):
        drawn = _draw(pictures, n, seed)
        classes = sorted({label for _, label, _ in drawn})
        x = np.concatenate([encoder.embed(np.stack(b)) for b in _prepare(encoder, drawn)])
        clusters = find_clusters(
            [Row(path, label) for path, label, _ in drawn],
            x,
            np.array([classes.index(label) for _, label, _ in drawn]),
            stack_thumbnails([summarize_pixels(image).thumbnail for _, _, image in drawn]),
        )
        shares.append(float(np.mean(clusters.group >= 0)))
        matter.append(clusters.matter)
    return {"set": name, "share in clusters": summarize(shares), "reported": sum(matter)}


def _prepare(encoder: Any, pictures: Pictures) -> Iterator[list[Any]]:
    for start in range(0, len(pictures), 64):
        yield [encoder.prepare(image) for _, _, image in pictures[start : start + 64]]


def _measure_patients(signal: float, n_worlds: int) -> dict[str, Any]:
    """Return the means of accuracies and coverages over worlds."""
    rows = []
    for seed in range(n_worlds):
        with TemporaryDirectory() as directory:
            rows.append(patients.measure(Path(directory), seed, signal, N_PATIENTS))
    keys = rows[0]
    return {
        "share of labels that the picture shows": signal,
        "worlds": n_worlds,
        **{key: summarize([row[key] for row in rows]) for key in keys},
    }
