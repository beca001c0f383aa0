"""Which embedding retrieves classes that it was not trained on?

Classes are divided into training, validation and test classes five times. Every loss gets the same
tuning of its margin (or temperature) and learning rate on the validation classes, and is trained
again on training and validation classes; test classes are scored once: recall at 1, mAP@R, and NMI
and AMI of k-means. Features as they are, whitened features and linear discriminants stand beside
the losses. Metrix (mixed embeddings) is compared with the plain loss and with batches twice as
large, on frozen features and on small networks; energy confusion with smaller margins, weight decay
and dropout, tuned alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.claims import Claim, make_table
from benchmarks.metric_losses import arms as a
from benchmarks.metric_losses.networks import (
    NETWORK_SETS,
    PLAIN,
    read_network_task,
    run_networks,
)
from benchmarks.retrieval_sets import (
    WIDTH,
    Arm,
    RetrievalTask,
    collect_scores,
    evaluate,
    fit_arm,
    read_task,
    reduce_task,
    run_arm,
)
from benchmarks.runner import summarize
from ilk.core.data import Labels
from ilk.maths.retrieval import bootstrap_classes, mean_known, score_retrieval
from ilk.metric_learning.projections import CLOSED_FORMS, make_projection
from ilk.metric_learning.training import embed_rows

SETS = ("omniglot", "cifar10", "notmnist")
NAMES = {
    "omniglot": "Omniglot pixels, 4 alphabets unseen",
    "cifar10": "CIFAR-10 MobileNetV2 features, 5 classes unseen",
    "notmnist": "notMNIST pixels, 5 classes unseen",
    "mnist": "MNIST, small network, 5 classes unseen",
    "cifar10 pixels": "CIFAR-10, small network, 5 classes unseen",
}
SEEDS = 5
RAW = "features as they are"
METRICS = ("recall at 1", "mAP@R", "NMI")
METRIX = Claim(
    "metrix-mixup-metric", "training/objectives/metrix.py", a.METRIX_MS, "MultiSimilarity"
)
CONFUSION = Claim(
    "ecaml-energy-confusion",
    "training/objectives/energy_confusion.py",
    a.CONFUSED_TRIPLET,
    "SemiHardTriplet",
)
CLAIMS = (
    METRIX,
    replace(METRIX, baseline=a.DOUBLED_MS),
    replace(METRIX, method=a.METRIX_CONTRASTIVE, baseline="ContrastivePairs"),
    replace(METRIX, method=a.METRIX_CONTRASTIVE, baseline=a.DOUBLED_CONTRASTIVE),
    CONFUSION,
    replace(CONFUSION, baseline=a.SMALLER_MARGIN),
    replace(CONFUSION, baseline=a.WEIGHT_DECAY),
    replace(CONFUSION, baseline=a.DROPOUT),
    replace(CONFUSION, method=a.CONFUSED_SUPCON, baseline="SupCon"),
    replace(CONFUSION, method=a.CONFUSED_SUPCON, baseline=a.WARMER_SUPCON),
)
NETWORK_CLAIMS = (METRIX, replace(METRIX, baseline=a.DOUBLED_MS), CONFUSION)


def run(small: bool = False) -> dict[str, Any]:
    """Run the benchmark; `small` takes seconds."""
    seeds = range(2 if small else SEEDS)
    sets = SETS[1:2] if small else SETS
    tables, intervals, settings = [], {}, {}
    for name in sets:
        runs = [_run_features(read_task(name, seed, small=small), seed, small) for seed in seeds]
        for metric in (*METRICS, "AMI"):
            claims = CLAIMS if metric in METRICS else ()
            tables.append(make_table(NAMES[name], metric, collect_scores(runs, metric), claims))
        intervals[name] = runs[0]["SupCon"]["over classes"]
        settings[name] = {
            arm: [[run[arm].get("setting"), run[arm].get("lr")] for run in runs] for arm in runs[0]
        }
    networks = {}
    for name in NETWORK_SETS[: 1 if small else None]:
        runs = [
            run_networks(read_network_task(name, seed, small=small), seed, small=small)
            for seed in seeds
        ]
        for metric in METRICS:
            scores = collect_scores(runs, metric)
            tables.append(make_table(NAMES[name], metric, scores, NETWORK_CLAIMS))
        tables.append(
            make_table(
                NAMES[name],
                "distance of unseen rows to the nearest training row",
                collect_scores(runs, "distance to training rows"),
                NETWORK_CLAIMS,
                better="lower",
            )
        )
        networks[name] = {
            arm: {
                key: summarize([run[arm][key] for run in runs])
                for key in ("distance to training rows", "with mixed rows", "with jittered rows")
            }
            for arm in (PLAIN, a.DOUBLED_MS, a.METRIX_MS)
        }
    return {
        "tables": tables,
        "intervals_over_classes": intervals,
        "utilization": networks,
        "settings": settings,
        "seeds": len(seeds),
    }


def _run_features(task: RetrievalTask, seed: int, small: bool) -> dict[str, dict[str, Any]]:
    """Return the scores of every arm on frozen features, by name."""
    results: dict[str, dict[str, Any]] = {RAW: evaluate(task.test.x, task.test.y, seed)}
    raw_x, task = task.test.x, reduce_task(task)
    for name in CLOSED_FORMS:
        head = make_projection(name, task.seen.x, task.seen.y, WIDTH)
        results[name] = evaluate(embed_rows(head, task.test.x), task.test.y, seed)
    for name, arm in a.list_first_arms().items():
        network, results[name] = run_arm(_shorten(arm, small), task, seed)
        if name == "SupCon":
            z = embed_rows(network, task.test.x)
            results[name]["over classes"] = _compare_over_classes(z, raw_x, task.test.y)
    margin, temperature = (results[n]["setting"] for n in ("SemiHardTriplet", "SupCon"))
    for name, arm in a.list_confused_arms(margin, temperature).items():
        results[name] = run_arm(_shorten(arm, small), task, seed)[1]
    for name, choices in a.list_decay_arms(margin).items():
        results[name] = _run_best([_shorten(arm, small) for arm in choices], task, seed)
    return results


def _run_best(choices: list[Arm], task: RetrievalTask, seed: int) -> dict[str, Any]:
    """Score the best of several arms and learning rates on validation classes."""
    best: tuple[float, int, float] = (-1.0, 0, 0.0)
    for i, arm in enumerate(choices):
        for lr in arm.learning_rates:
            z = embed_rows(fit_arm(arm, task.train, arm.values[0], lr, seed), task.validation.x)
            score = mean_known(score_retrieval(z, task.validation.y).ap_at_r)
            best = max(best, (score, i, lr), key=lambda b: b[0])
    arm, lr = choices[best[1]], best[2]
    network = fit_arm(arm, task.seen, arm.values[0], lr, seed)
    scores = evaluate(embed_rows(network, task.test.x), task.test.y, seed)
    return {**scores, "setting": best[1], "lr": lr}


def _compare_over_classes(z: Any, x: Any, y: Labels) -> dict[str, list[float]]:
    """Return the gain of an embedding over the features with its interval over test classes."""
    learned, raw = score_retrieval(z, y), score_retrieval(x, y)
    return {
        "recall at 1": list(bootstrap_classes(learned.recall[0] - raw.recall[0], y)),
        "mAP@R": list(bootstrap_classes(learned.ap_at_r - raw.ap_at_r, y)),
    }


def _shorten(arm: Arm, small: bool) -> Arm:
    if not small:
        return arm
    return replace(
        arm,
        recipe=replace(arm.recipe, steps=3),
        learning_rates=arm.learning_rates[:1],
        values=arm.values[:2],
    )
