"""Which maps show what a classifier looks at, what do they cost, and is the verdict on them right?

Canvases of 56 x 56 pixels hold a digit, whose place is known, among Fashion items on a texture.
Small convolutional networks are trained on them. Every explainer, with its defaults, explains test
canvases that the network gets right, beside maps that know nothing: smooth random fields, random
pixels, the centre, edges, the map of another image. Measured are insertion minus deletion (two
baselines), average drop and increase in confidence at three levels with the mean of the map beside
them, whether the largest value lies on the digit, the mass on the digit relative to its area, the
rank correlation with maps of a randomized head and network, passes, and maps per second. A verdict
is right if it trusts a map whose largest value lies on the digit, and refuses others; random maps
must be refused. Then photographs with the embedded encoder.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.canvas import Canvases, make_canvases
from benchmarks.claims import make_table
from benchmarks.decoders import PACS_CLASSES
from benchmarks.explanations.canvas_classifier import train_classifier
from benchmarks.explanations.scores import (
    LEVELS,
    measure_confidence,
    measure_mass,
    measure_pointing,
)
from benchmarks.runner import summarize
from benchmarks.shared_files import decode_image, iterate_archive
from ilk.core.errors import IlkError
from ilk.explain.contract import Map
from ilk.explain.controls import draw_random_map, make_centre_map, make_edge_map
from ilk.explain.explainers.occlusion import Occlusion
from ilk.explain.fidelity import measure_fidelity
from ilk.explain.question import ask
from ilk.explain.randomization import check_randomization
from ilk.explain.registry import list_explainers
from ilk.explain.subject import Subject
from ilk.explain.verdict import judge, measure_controls

MAX_PASSES = 600  # of an explainer that takes part
CONTROLS = ("random field", "random pixels", "centre", "edges", "map of another image")


def run(small: bool = False) -> dict[str, Any]:
    """Train the networks, explain the canvases and the photographs."""
    seeds = (0,) if small else (0, 1, 2)
    n, epochs, n_images = (600, 2, 8) if small else (5000, 3, 67)
    found = [explain_canvases(n, epochs, n_images, seed) for seed in seeds]
    return {
        "tables": make_tables(found),
        "levels": list(LEVELS),
        "canvases": summarize_seeds(found),
        "photographs": explain_photographs(1 if small else 6, 4 if small else 15),
    }


def explain_canvases(n: int, epochs: int, n_images: int, seed: int) -> dict[str, Any]:
    """Return the accuracy of one network, and what was measured of every explainer."""
    classifier, accuracy = train_classifier(n, epochs, seed)
    data = make_canvases(4 * n_images, 3000 + seed, "test")
    cases = list_right(classifier, data, n_images)
    rows: dict[str, list[dict[str, float]]] = {}
    others = [Occlusion().explain(subject, 0) for subject, _ in cases]
    for number, (subject, mask) in enumerate(cases):
        controls = measure_controls(subject, seed)
        makers = list_makers(subject, 10_000 * seed + number)
        makers[CONTROLS[-1]] = lambda other=others[number - 1]: other
        for name, make in makers.items():
            before, start = subject.n_passes, time.process_time()
            try:
                values = make()
            except IlkError:
                continue
            seconds, passes = time.process_time() - start, subject.n_passes - before
            fidelity = measure_fidelity(subject, values)
            verdict = judge(values, fidelity, subject, controls)
            row = {
                "score": fidelity.score,
                "pointing": measure_pointing(values, mask),
                "mass": measure_mass(values, mask),
                "trusted": float(verdict.is_trustworthy),
                "passes": float(passes),
                "seconds": seconds,
            }
            for level, (drop, rise, mean) in zip(
                LEVELS, measure_confidence(subject, values), strict=True
            ):
                row |= {f"drop {level}": drop, f"increase {level}": rise, f"mean {level}": mean}
            rows.setdefault(name, []).append(row)
    checks = {
        name: check_randomization([s for s, _ in cases[:3]], kind_of(), seed).correlations
        for name, kind_of in list_explainers().items()
        if name in rows
    }
    return {"accuracy": accuracy, "rows": rows, "checks": checks}


def list_right(classifier: Any, data: Canvases, n: int) -> list[tuple[Subject, Any]]:
    """Return at most `n` canvases whose digit the classifier names, with their masks."""
    cases: list[tuple[Subject, Any]] = []
    for image, y, mask in zip(data.to_images(), data.y, data.mask, strict=True):
        subject, question = ask(classifier, image)
        if question.predicted == str(y) and len(cases) < n:
            cases.append((subject, mask))
    return cases


def list_makers(subject: Subject, seed: int) -> dict[str, Any]:
    """Return what makes the map of every explainer and control, by name."""
    rng = np.random.default_rng(seed + 1_000_000)
    makers: dict[str, Any] = {}
    for name, kind in list_explainers().items():
        explainer = kind()
        if explainer.needs_neighbours or explainer.needs_class_errors:
            continue
        if explainer.count_passes(subject) <= MAX_PASSES:
            makers[name] = lambda explainer=explainer: explainer.explain(subject, 0)
    pixels: Map = rng.standard_normal(subject.shape).astype(np.float32)
    random = draw_random_map(subject.shape, rng)
    maps = (random, pixels, make_centre_map(subject.shape), make_edge_map(subject.picture))
    for name, values in zip(CONTROLS, maps, strict=False):
        makers[name] = lambda values=values: values
    return makers


def summarize_seeds(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means over images, summarized over networks, and how often verdicts are right."""
    names = list(found[0]["rows"])
    explainers: dict[str, Any] = {}
    for name in names:
        keys = found[0]["rows"][name][0]
        means = {k: [float(np.mean([r[k] for r in f["rows"][name]])) for f in found] for k in keys}
        explainers[name] = {k: summarize(v) for k, v in means.items()}
        seconds = sum(r["seconds"] for f in found for r in f["rows"][name])
        n = sum(len(f["rows"][name]) for f in found)
        explainers[name]["maps_per_second"] = None if name in CONTROLS else n / max(seconds, 1e-9)
        if name in found[0]["checks"]:
            correlations = [f["checks"][name] for f in found]
            explainers[name]["randomization"] = {
                part: summarize([c[part] for c in correlations]) for part in correlations[0]
            }
    return {
        "accuracy": summarize([f["accuracy"] for f in found]),
        "images": sum(len(f["rows"][names[0]]) for f in found),
        "explainers": explainers,
        "verdicts": count_verdicts(found),
    }


def count_verdicts(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how often maps are trusted: on the digit, off it, and random ones."""
    rows = [
        (name, row)
        for f in found
        for name, list_of_rows in f["rows"].items()
        for row in list_of_rows
    ]
    own = [row for name, row in rows if name not in CONTROLS]
    groups = {
        "maps on the digit": [r for r in own if r["pointing"] >= 0.5],
        "maps off the digit": [r for r in own if r["pointing"] < 0.5],
        **{name: [r for other, r in rows if other == name] for name in CONTROLS},
    }
    return {
        name: {"maps": len(g), "trusted": float(np.mean([r["trusted"] for r in g])) if g else None}
        for name, g in groups.items()
    }


def make_tables(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one table per figure: every explainer and control, by network."""
    figures = {
        "insertion minus deletion": "score",
        "largest value on the digit": "pointing",
        "mass on the digit over its area": "mass",
    }
    return [
        make_table(
            "digits among distractors, small convolutional networks",
            metric,
            {
                name: [float(np.mean([r[key] for r in f["rows"][name]])) for f in found]
                for name in found[0]["rows"]
            },
            [],
        )
        for metric, key in figures.items()
    ]


def explain_photographs(n_images: int, per_class: int) -> dict[str, Any]:
    """Return scores and maps per second of every explainer on photographs, embedded encoder."""
    import ilk

    with tempfile.TemporaryDirectory() as home:
        test = write_photographs(Path(home) / "photos", per_class, n_images)
        classifier = ilk.fit(
            Path(home) / "photos",
            encoders="efficientnet-lite0",
            methods="LogisticRegression",
            views=1,
        )
        subjects = [ask(classifier, image)[0] for image in test]
        controls = [measure_controls(subject) for subject in subjects]
        scores: dict[str, list[float]] = {}
        trusted: dict[str, list[float]] = {}
        seconds: dict[str, float] = {}
        passes: dict[str, int] = {}
        for subject, control in zip(subjects, controls, strict=True):
            for name, make in list_photograph_makers(subject).items():
                before, start = subject.n_passes, time.process_time()
                try:
                    values = make()
                except IlkError:
                    continue
                seconds[name] = seconds.get(name, 0.0) + time.process_time() - start
                passes[name] = passes.get(name, 0) + subject.n_passes - before
                fidelity = measure_fidelity(subject, values)
                verdict = judge(values, fidelity, subject, control)
                scores.setdefault(name, []).append(fidelity.score)
                trusted.setdefault(name, []).append(float(verdict.is_trustworthy))
        centre = [c.centre for c in controls]
        edges = [c.edges for c in controls]
        return {
            "images": len(subjects),
            "centre": summarize(centre),
            "edges": summarize(edges),
            "random_spread": float(np.mean([c.spread for c in controls])),
            "explainers": {
                name: {
                    "score": summarize(values),
                    "above_centre": summarize([a - b for a, b in zip(values, centre, strict=True)]),
                    "trusted": float(np.mean(trusted[name])),
                    "passes": passes[name] / len(values),
                    "maps_per_second": len(values) / max(seconds[name], 1e-9),
                }
                for name, values in scores.items()
                if len(values) == len(subjects)
            },
        }


def list_photograph_makers(subject: Subject) -> dict[str, Any]:
    """Return what makes the map of every explainer with its variants, by name."""
    return {
        name: lambda kind=kind: kind().explain(subject, 0)
        for name, kind in list_explainers().items()
        if not kind.needs_class_errors and kind().count_passes(subject) <= MAX_PASSES
    }


def write_photographs(folder: Path, per_class: int, n_test: int) -> list[Image.Image]:
    """Write photographs of PACS in a folder per class; return others, of all classes in turn."""
    test: dict[str, list[Image.Image]] = {name: [] for name in PACS_CLASSES}
    count = dict.fromkeys(PACS_CLASSES, 0)
    for name, content in iterate_archive("pacs_subset", "pacs_subset.tar.gz"):
        if "/photo/" not in f"/{name}" or not name.endswith((".jpg", ".png")):
            continue
        label = next(part for part in name.split("/") if part in PACS_CLASSES)
        picture = decode_image(content, "RGB")
        count[label] += 1
        if count[label] <= per_class:
            (folder / label).mkdir(parents=True, exist_ok=True)
            picture.save(folder / label / f"{count[label]}.jpg", quality=92)
        elif len(test[label]) < -(-n_test // len(PACS_CLASSES)):
            test[label].append(picture)
    in_turn = [pictures[i] for i in range(4) for pictures in test.values() if i < len(pictures)]
    return in_turn[:n_test]
