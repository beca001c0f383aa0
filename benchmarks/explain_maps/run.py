"""Which explanations of a digit on a canvas point at the digit, and what do they cost?

Five networks, each with canvases of its own. T-TAME (maps that are trained once, one pass each)
against Grad-CAM, RISE and maps that know nothing: random, the middle, edges. VALE (Shapley values,
a segment, sentences) on canvases whose distractors touch the digit. DiffROAR of the gradients of
standard and of adversarially trained networks, and BlockMNIST. All maps are of the class that the
network names; nothing is chosen on test labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np

from benchmarks.canvas import make_canvases
from benchmarks.canvas_networks import Kind, load_network, predict_proba
from benchmarks.claims import AHEAD, BEHIND, Claim, make_table
from benchmarks.explain_maps import input_gradients, maps, t_tame, vale
from benchmarks.explain_maps.fidelity import score_maps
from ilk.training.objectives.masked_confidence import MaskedConfidence

T_TAME_FILE = "explain/explainers/t_tame.py"
VALE_FILE = "explain/explainers/vale.py"
DIFFROAR_FILE = "explain/diffroar.py"
SEEDS = 5
T = TypeVar("T")

Scores = dict[str, dict[str, list[float]]]  # metric -> method -> one value per seed


def run(small: bool = False) -> dict[str, Any]:
    """Return tables, costs and verdicts."""
    n_seeds = 2 if small else SEEDS
    size = _SMALL if small else _FULL
    cnn: Scores = {}
    vit: Scores = {}
    segments: Scores = {}
    texts: Scores = {}
    costs: dict[str, list[float]] = {}
    accuracy: dict[str, list[float]] = {"cnn": [], "vit": []}
    diffroar: list[dict[str, Any]] = []
    blocks: dict[str, list[float]] = {}
    for seed in range(n_seeds):
        _run_maps("cnn", seed, size, cnn, costs, accuracy)
        _run_maps("vit", seed, size, vit, costs, accuracy)
        _run_vale(seed, size, segments, texts, costs)
        diffroar.append(
            input_gradients.run_diffroar(
                seed, size["rows"], size["test_rows"], size["retrain_steps"], size["levels"]
            )
        )
        _collect(blocks, input_gradients.run_blocks(seed, size["rows"], size["block_steps"]))
    tables = [
        *_make_map_tables(cnn, "convolutions"),
        *_make_map_tables(vit, "vision transformer"),
        *_make_vale_tables(segments, texts),
        *_make_gradient_tables(diffroar, blocks),
    ]
    return {
        "tables": tables,
        "verdicts": [_word(table, claim) for table in tables for claim in table["claims"]],
        "accuracy of the networks": accuracy,
        "processor seconds per map": {name: float(np.mean(v)) for name, v in costs.items()},
        "passes per map": {
            "T-TAME": 1, "Grad-CAM": 3, "RISE": size["masks"], "SHAP": size["masks"] + 2,
        },
        "diffroar by level": diffroar,
    }  # fmt: skip


_FULL: dict[str, Any] = {
    "train": {}, "n": 40, "steps": 150, "canvases": 1500, "masks": 300,
    "rows": 4000, "test_rows": 2000, "retrain_steps": 80, "block_steps": 120,
    "levels": (0.1, 0.3),
}  # fmt: skip
_SMALL: dict[str, Any] = {
    "train": {"n": 64, "epochs": 1}, "n": 8, "steps": 4, "canvases": 48,
    "masks": 20, "rows": 200, "test_rows": 100, "retrain_steps": 4, "block_steps": 5,
    "levels": (0.2,),
}  # fmt: skip


def _run_maps(
    kind: Kind,
    seed: int,
    size: dict[str, Any],
    scores: Scores,
    costs: dict[str, list[float]],
    accuracy: dict[str, list[float]],
) -> None:
    """Add the scores of all maps of the networks of one seed."""
    network = load_network(kind, seed, **size["train"])
    train_set = make_canvases(size["canvases"], 1000 + seed)
    test = make_canvases(size["n"], 2000 + seed, "test")
    classes = predict_proba(network, test.x).argmax(1).astype(np.int64)
    accuracy[kind].append(100 * float((classes == test.y).mean()))
    found = {
        "random": maps.make_random_maps(test.x, seed),
        "centre": maps.make_centre_maps(test.x),
        "edges": maps.make_edge_maps(test.x),
        "Grad-CAM": _time(
            costs, "Grad-CAM", size["n"], lambda: maps.make_grad_cam_maps(network, test.x, classes)
        ),
        "RISE": _time(
            costs, "RISE", size["n"],
            lambda: maps.make_rise_maps(network, test.x, classes, seed, size["masks"]),
        ),
    }  # fmt: skip
    objectives = {"T-TAME": MaskedConfidence()}
    if kind == "cnn":
        objectives["T-TAME, diagonal"] = MaskedConfidence(scope="diagonal")
        objectives["T-TAME, area weight 0"] = MaskedConfidence(area=0.0)
    for name, objective in objectives.items():
        steps = size["steps"] if objective.area else max(4, size["steps"] // 3)
        train = partial(t_tame.train_maps, network, train_set, objective, steps, seed)
        explained = _time(costs, f"{name}, training", 1, train)
        make = partial(t_tame.make_maps, explained, test.x, classes)
        found[name] = _time(costs, name, size["n"], make)
        if kind == "cnn" and name == "T-TAME":
            leak = t_tame.measure_leaks(explained, network, train_set, seed)
            for method, value in leak.items():
                scores.setdefault("class told by the mask alone, %", {}).setdefault(
                    method, []
                ).append(value)
    for method, values in found.items():
        for metric, value in score_maps(network, test, classes, values).items():
            scores.setdefault(metric, {}).setdefault(method, []).append(value)


def _run_vale(
    seed: int,
    size: dict[str, Any],
    segments: Scores,
    texts: Scores,
    costs: dict[str, list[float]],
) -> None:
    """Add the scores of segments grown from maps of the network of one seed, and of sentences."""
    network = load_network("cnn", seed, **size["train"])
    test = make_canvases(size["n"], 3000 + seed, "test", touching=True)
    classes = predict_proba(network, test.x).argmax(1).astype(np.int64)
    shap = _time(
        costs, "SHAP", size["n"],
        lambda: vale.make_shap_maps(network, test.x, classes, size["masks"], seed),
    )  # fmt: skip
    seeds = {
        "SHAP, 1 point": (shap, 1),
        "SHAP, 3 points": (shap, 3),
        "Grad-CAM": (maps.make_grad_cam_maps(network, test.x, classes), 3),
        "RISE": (maps.make_rise_maps(network, test.x, classes, seed, size["masks"]), 3),
        "centre": (maps.make_centre_maps(test.x), 3),
        "random": (maps.make_random_maps(test.x, seed), 3),
    }
    grown = {name: vale.grow_segments(test.x, m, n) for name, (m, n) in seeds.items()}
    area = grown["SHAP, 3 points"].sum((1, 2))
    for name, segment in grown.items():
        values = {
            "IoU with the digit, %": vale.measure_overlap(segment, test.ink),
            "fall of the probability at equal area, points": vale.measure_fall(
                network, test.x, classes, segment, seeds[name][0], area
            ),
        }
        for metric, value in values.items():
            segments.setdefault(metric, {}).setdefault(name, []).append(value)
    for name, is_shuffled in (("VALE", False), ("text of another image", True)):
        found = vale.check_statements(test, grown["SHAP, 3 points"], classes, is_shuffled, seed)
        for statement, value in found.items():
            texts.setdefault(statement, {}).setdefault(name, []).append(value)


def _make_map_tables(scores: Scores, network: str) -> list[dict[str, Any]]:
    rivals = ("Grad-CAM", "RISE", "edges", "centre", "random")
    claims = [Claim("t-tame", T_TAME_FILE, "T-TAME", rival) for rival in rivals]
    if "T-TAME, diagonal" in scores["deletion"]:
        claims += [Claim("t-tame", T_TAME_FILE, "T-TAME, diagonal", r) for r in rivals[:2]]
    setting = f"canvases, {network}"
    lower = {"AD 0", "AD 0.5", "AD 0.85", "deletion"}
    without = {"map mean", "AD 0", "IC 0", "AD 0.5", "IC 0.5", "mass in mask / share", "insertion"}
    tables = []
    for metric, by_method in scores.items():
        if metric.startswith("class told"):
            tables.append(make_table(setting, metric, by_method, [], "lower"))
            continue
        better = "lower" if metric in lower else "higher"
        chosen = [] if metric in without else claims
        tables.append(make_table(setting, metric, by_method, chosen, better))  # type: ignore[arg-type]
    return tables


def _make_vale_tables(segments: Scores, texts: Scores) -> list[dict[str, Any]]:
    entry = "vale-visual-language-explanation"
    claims = [
        Claim(entry, VALE_FILE, "SHAP, 3 points", rival)
        for rival in ("SHAP, 1 point", "Grad-CAM", "RISE", "centre", "random")
    ]
    setting = "canvases with touching distractors"
    tables = [make_table(setting, metric, by, claims) for metric, by in segments.items()]
    claim = Claim(entry, VALE_FILE, "VALE", "text of another image")
    return tables + [
        make_table(setting, f"true statements of {name}, %", by, [claim])
        for name, by in texts.items()
    ]


def _make_gradient_tables(
    diffroar: list[dict[str, Any]], blocks: dict[str, list[float]]
) -> list[dict[str, Any]]:
    entry = "diffroar-input-gradients"
    names = [name for name in diffroar[0] if name != "accuracy"]
    means = {name: [float(np.mean(list(d[name].values()))) for d in diffroar] for name in names}
    rivals = ("random", "standard, true label", "standard, integrated gradients")
    claims = [Claim(entry, DIFFROAR_FILE, "robust, true label", rival) for rival in rivals]
    claims.append(
        Claim(entry, DIFFROAR_FILE, "robust, predicted label", "standard, predicted label")
    )
    claims.append(Claim(entry, DIFFROAR_FILE, "standard, predicted label", "random"))
    inside = {name: v for name, v in blocks.items() if not name.startswith("accuracy")}
    place = ", random place"
    pairs = (("robust" + place, "standard" + place), ("standard, fixed place", "standard" + place))
    block_claims = [Claim(entry, DIFFROAR_FILE, a, b) for a, b in pairs]
    return [
        make_table("MNIST, one hidden layer", "DiffROAR, points of accuracy", means, claims),
        make_table(
            "BlockMNIST", "first gradient pixels in the digit's block, %", inside, block_claims
        ),
    ]


def _word(table: dict[str, Any], claim: dict[str, Any]) -> str:
    """Return the outcome of a claim in words."""
    mean, half = claim["difference"]["mean"], claim["difference"]["half_width"]
    verdict = {AHEAD: "is better than", BEHIND: "is worse than"}.get(
        claim["verdict"], "does not differ significantly from"
    )
    return (
        f"{table['setting']}: {claim['method']} {verdict} {claim['baseline']} by {table['metric']} "
        f"({mean:+.2f} ± {half:.2f}, {table['seeds']} seeds)"
    )


def _time(costs: dict[str, list[float]], name: str, n: int, make: Callable[[], T]) -> T:
    """Return what `make` returns, and note its processor seconds per map."""
    start = time.process_time()
    out = make()
    costs.setdefault(name, []).append((time.process_time() - start) / n)
    return out


def _collect(into: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        into.setdefault(name, []).append(value)
