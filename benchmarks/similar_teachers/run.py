"""Do source models teach a student of another task better if weighted by their similarity to it?

Six source networks, each trained on its own classes: MNIST 0 to 4 and 5 to 9, notMNIST A to E and F
to J, Fashion-MNIST 0 to 4, and 136 characters of Omniglot. Two targets: USPS digits, and
Fashion-MNIST 5 to 9, with 5 labelled and 200 unlabelled pictures per class; five seeds draw them
and the students. Similarity is PARC on the labelled pictures. All students have the same size,
updates, batches (half of them labelled) and shifts of the pictures:

* weighted, nearest: distilled from all sources by similarity (power 4), or from the most similar;
* uniform weights; the least similar source; the best source by test accuracy ("oracle"), which
  nobody could choose;
* fine-tuning: a network of the student's size, trained on the pictures of the most similar source,
  tuned on the labels; labels alone;
* pseudo-labels, as FixMatch: confident answers (0.95) to shifted pictures teach changed ones.

Said to happen: weights by similarity beat uniform ones, the worst source, fine-tuning and FixMatch.
Nothing is chosen on test labels but the oracle; the recipe and the power were fixed before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.claims import Claim, make_table
from benchmarks.runner import summarize
from benchmarks.similar_teachers import sources, target
from ilk.core.errors import Unavailable
from ilk.ranking.parc import correlate_ranks

FILE = "training/objectives/similar_sources.py"
WEIGHTED, NEAREST, UNIFORM, WORST = "weighted", "nearest", "uniform", "least similar source"
ORACLE, TUNED, LABELS, PSEUDO = "oracle source", "fine-tuned", "labels alone", "pseudo-labels"
RIVALS = (UNIFORM, WORST, TUNED, PSEUDO, LABELS)


def run(small: bool = False) -> dict[str, Any]:
    """Return a table for each target, and what PARC said of the sources."""
    found = sources.train_sources(small)
    tables, details, left_out = [], {}, []
    for name in target.TARGETS:
        try:
            table, detail = compare(name, found, small)
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
            continue
        tables.append(table)
        details[name] = detail
    return {
        "tables": tables,
        "targets": details,
        "accuracy of sources on their own test pictures": {s.name: s.accuracy for s in found},
        "left out": left_out,
    }


def compare(
    name: str, found: list[sources.SourceModel], small: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the table of one target, and similarities with single-source accuracies."""
    scores: dict[str, list[float]] = {arm: [] for arm in (WEIGHTED, NEAREST, *RIVALS, ORACLE)}
    similarities, singles, correlations = [], [], []
    for seed in range(2 if small else 5):
        task = target.Target.load(name, found, seed, small)
        similarity = task.measure_similarities()
        single = [task.distill(task.one_hot(s)) for s in range(len(found))]
        nearest, worst = int(np.argmax(similarity)), int(np.argmin(similarity))
        scores[WEIGHTED].append(task.distill(task.weight(similarity)))
        scores[NEAREST].append(single[nearest])
        scores[UNIFORM].append(task.distill([1.0] * len(found)))
        scores[WORST].append(single[worst])
        scores[ORACLE].append(max(single))
        scores[TUNED].append(task.tune(nearest))
        scores[LABELS].append(task.train_on_labels())
        scores[PSEUDO].append(task.train_on_pseudo_labels())
        similarities.append(similarity)
        singles.append(single)
        correlations.append(correlate_ranks(np.array(similarity), np.array(single)))
    claims = [
        Claim("distill-nearest-weighted", FILE, ours, theirs)
        for ours in (WEIGHTED, NEAREST)
        for theirs in RIVALS
    ]
    claims.append(Claim("distill-nearest-weighted", FILE, WEIGHTED, NEAREST))
    table = make_table(f"{name}, 5 labels per class", "test accuracy", scores, claims)
    detail = {
        "sources": {
            source.name: {
                "PARC": summarize([row[s] for row in similarities]),
                "accuracy of a student of it alone": summarize([row[s] for row in singles]),
            }
            for s, source in enumerate(found)
        },
        "rank correlation of PARC and accuracy": summarize(correlations),
    }
    return table, detail
