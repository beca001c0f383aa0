"""Detectors on images: the public call of `ilk detect fit`, and each detector by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.claims import Claim, make_table
from benchmarks.normal_or_not.image_sets import (
    Draw,
    Pictures,
    draw_cifar_classes,
    draw_fashion_classes,
    draw_fashion_with_defects,
    draw_strips,
    draw_texture,
)
from benchmarks.runner import summarize
from ilk.artifacts.anomaly_evaluation import AnomalyScores
from ilk.artifacts.anomaly_result import AnomalyResult
from ilk.core.capabilities import Embeds
from ilk.core.errors import Unavailable
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.fitting.detector import AUTO, fit_detector, show_whole_image
from ilk.images import Images, read_images
from ilk.maths.roc_area import compute_roc_area
from ilk.store import Store

SEEDS = (41, 42, 43)  # none of them was looked at while the rule and the detectors were made
ENCODER = "efficientnet-lite0"
GAUSSIAN, NEIGHBOUR, PATCHES = "GaussianAnomaly", "NearestNeighbour", "PatchMemory"
CHOSEN, BASELINE = "chosen (default)", "distance to the mean"
RATE = 0.1  # of false alarms: half of 32 tiles are too few for less
METRIC = "area under the ROC curve"
ENTRY = "gaussian-ad-mvtec"

SETS: dict[str, Callable[[int], Draw]] = {
    "brick, painted defects": partial(draw_texture, "brick"),
    "stained tissue, painted defects": partial(draw_texture, "ihc"),
    "Fashion-MNIST, painted defects": draw_fashion_with_defects,
    "CIFAR-10 images, other classes": draw_cifar_classes,
    "grass, painted defects": partial(draw_texture, "grass"),
    "Fashion-MNIST images, other classes": draw_fashion_classes,
}
SMALL = "Fashion-MNIST, painted defects"


def compare_images(small: bool, left_out: list[str]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the tables of all sets, and per set what was chosen, false alarms and seconds."""
    tables, details = [], {}
    seeds = SEEDS[:1] if small else SEEDS
    encoder = "hog" if small else ENCODER
    for name, draw in ({SMALL: SETS[SMALL]} if small else SETS).items():
        try:
            found = [_measure(draw(seed), encoder) for seed in seeds]
        except Unavailable as missing:
            left_out.append(f"{name}: {missing}")
            continue
        tables += _make_tables(name, found)
        details[name] = {
            "chosen": [run["chosen"] for run in found],
            "synthetic": [run["synthetic"] for run in found],
            "false alarms": {
                method: summarize([run["false alarms"][method] for run in found])
                for method in found[0]["false alarms"]
            },
        }
    if not small:
        tables.append(_compare_shapes(seeds))
    return tables, details


def _make_tables(name: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    columns = {m: [run["image"][m] for run in found] for m in found[0]["image"]}
    claims = [Claim(ENTRY, "detectors/gaussian_anomaly.py", GAUSSIAN, BASELINE)]
    if CHOSEN in columns:
        claims.append(Claim("detector-choice", "fitting/detector_choice.py", CHOSEN, GAUSSIAN))
    if PATCHES in columns:
        file = "detectors/patch_memory.py"
        claims += [Claim("patchcore", file, PATCHES, n) for n in (GAUSSIAN, NEIGHBOUR)]
    tables = [make_table(name, METRIC, columns, claims)]
    for kind in ("pixel AUROC", "region overlap"):
        if all(kind in run for run in found):
            values = {PATCHES: [run[kind] for run in found]}
            tables.append(make_table(f"{name}: maps, {kind}", kind, values, []))
    return tables


def _measure(draw: Draw, encoder: str) -> dict[str, Any]:
    """Return what each detector finds in one draw."""
    with _open_store() as store:
        whole = show_whole_image(resolve_encoder(encoder), AUTO, lambda _line: None)
        train, test = _read(draw.train, whole, store), [*draw.normal, *draw.anomalous]
        n_normal = len(draw.normal)
        chosen = fit_detector(train, whole, store)
        own = chosen.method.partition("(")[0]
        detectors = {own: chosen}
        for name in (GAUSSIAN, NEIGHBOUR, *([PATCHES] if encoder == ENCODER else [])):
            if name != own:
                detectors[name] = fit_detector(train, whole, store, method=name)
        found: dict[str, Any] = {
            "chosen": own,
            "synthetic": {
                method.partition("(")[0]: float(np.mean(list(kinds.values())))
                for method, kinds in chosen.choice.items()
            },
            "image": {BASELINE: _score_baseline(train, test, n_normal, whole, store)},
            "false alarms": {},
        }
        for name in sorted(detectors):
            results = list(detectors[name].stream(test, store, maps=name == PATCHES))
            normal, anomalous = _split_scores(results, n_normal)
            found["image"][name] = compute_roc_area(normal, anomalous)
            threshold = detectors[name].model.compute_threshold(RATE)
            found["false alarms"][name] = float(np.mean(normal > threshold))
            if name == PATCHES and draw.masks:
                found |= _score_maps(results, draw)
        found["image"][CHOSEN] = found["image"][own]
    return found


def _score_maps(results: list[AnomalyResult], draw: Draw) -> dict[str, float]:
    """Return how well maps agree with masks."""
    scores = AnomalyScores(frozenset({"good"}))
    empty = [np.zeros(mask.shape, bool) for mask in draw.masks]
    for result, mask in zip(results, [*empty[: len(draw.normal)], *draw.masks], strict=True):
        assert result.pixel_map is not None
        scores.add_pixels(result.pixel_map.render(), mask)
        scores.add(result, "defect" if mask.any() else "good", Path())
    evaluation = scores.evaluate(None)
    assert evaluation.pixel_auroc is not None
    assert evaluation.region_overlap is not None
    return {"pixel AUROC": evaluation.pixel_auroc, "region overlap": evaluation.region_overlap}


def _compare_shapes(seeds: tuple[int, ...]) -> dict[str, Any]:
    """Compare ways to resize long images, by the Gaussian and by patches."""
    columns: dict[str, list[float]] = {}
    for seed in seeds:
        draw = draw_strips(seed)
        test = [*draw.normal, *draw.anomalous]
        with _open_store() as store:
            for way in ("crop", "squash", "letterbox"):
                encoder = show_whole_image(resolve_encoder(ENCODER), way, lambda _line: None)
                train = _read(draw.train, encoder, store)
                for name in (GAUSSIAN, NEIGHBOUR, *([PATCHES] if way != "crop" else [])):
                    detector = fit_detector(train, encoder, store, method=name)
                    scores = _split_scores(detector.stream(test, store), len(draw.normal))
                    columns.setdefault(f"{name}, {way}", []).append(compute_roc_area(*scores))
    file = "fitting/detector.py"
    claims = [
        Claim("whole-image", file, f"{name}, squash", f"{name}, crop")
        for name in (GAUSSIAN, NEIGHBOUR)
    ]
    return make_table("PACS in strips of 3:1, other classes", METRIC, columns, claims)


def _score_baseline(
    train: Images, test: Pictures, n_normal: int, encoder: Embeds, store: Store
) -> float:
    """Return the area of the distance to the mean, the simplest score."""
    new = _read(test, encoder, store)
    x, y = (store.get(encoder.space, [row.digest for row in i.used]) for i in (train, new))
    distance = np.linalg.norm(y - x.mean(0), axis=1)
    return compute_roc_area(distance[:n_normal], distance[n_normal:])


def _split_scores(results: Any, n_normal: int) -> tuple[Any, Any]:
    scores = np.array([result.score for result in results])
    return scores[:n_normal], scores[n_normal:]


def _read(pictures: Pictures, encoder: Embeds, store: Store) -> Images:
    images = read_images(list(pictures))
    encode_images(images, [encoder], store)
    return images


@contextmanager
def _open_store() -> Iterator[Store]:
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        store = Store(Path(home) / "store.sqlite")
        try:
            yield store
        finally:
            store.close()
