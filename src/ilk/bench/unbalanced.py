"""Which classifier serves rare classes best when the training rows have a long tail?

Sets: scikit-learn's digits (60 % to learn from, 40 % to answer for), Fashion-MNIST pixels and
CIFAR-10 through MobileNetV2 (a pool of 8,000 training rows, test rows from the official test part).
The pool of each seed is cut to an exponential tail of 1:10, 1:50 and 1:100, at most 300 rows a
class; which class is rare is drawn. Test rows are balanced but for chance. Wide sets are reduced to
the first 128 principal axes of their training rows and turned at random, so that a head, which
standardises each feature, does not blow up the small axes. Five seeds, all contenders on the same
rows: balanced accuracy, and accuracy on the many, medium and few (the three largest classes, the
four between, the three smallest).

Simple contenders: logistic regression, the same with classes weighed in its loss (scikit-learn, C
by balanced accuracy on three folds), the same with the prior taken off, and Gaussian discriminant
analysis with counted priors, with equal ones, and with a class-balanced covariance as well. Heads
of 256 hidden units at 1:50 and 1:100, all under the same last layer (regression with the prior
taken off): subclass contrastive (SBCL), random subclasses, no subclasses (supervised contrastive),
and cross-entropy reweighted by class; reweighting also with the last layer it was trained with.
SBCL's share of features struck out, its rate and its number of updates were chosen on training rows
of Fashion-MNIST with three other seeds; everything else has its default.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.bench._family import Claim, table
from ilk.bench._long_tails import Cut, drawn, reweighted, weighed
from ilk.data import Labels
from ilk.errors import Unavailable
from ilk.methods.balanced_gda import BalancedGDA
from ilk.methods.gda import GDA
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.prior_correction import PriorCorrection
from ilk.methods.subclass_contrastive import SubclassContrastive, balanced
from ilk.metrics import macro_accuracy
from ilk.models import Method

SEEDS = 5
RATIOS, WITH_HEADS = (10, 50, 100), (50, 100)
WEIGHTED = "LogisticRegression, classes weighed"
PRIOR, GAUSSIAN = "PriorCorrection", "GDA"
EVEN, COVARIANCE = "GDA(uniform=True)", "BalancedGDA"
LOGISTIC = "LogisticRegression"
SBCL, RANDOM, WHOLE = "SBCL", "random subclasses", "supervised contrastive"
REWEIGHTED, ALONE = "reweighted cross-entropy", "reweighted cross-entropy, its own last layer"
ROW = "sbcl-subclass-contrastive"
PARTS = {"many": slice(7, None), "medium": slice(3, 7), "few": slice(0, 3)}  # by rank of ten

TITLE = {
    "digits": "digits",
    "fashion": "Fashion-MNIST pixels",
    "cifar": "CIFAR-10 through MobileNetV2",
}

Answers = Iterator[tuple[str, NDArray[np.int64]]]


def run(small: bool = False) -> dict[str, Any]:
    """Tables by set and imbalance; `small` has digits at 1:50, two seeds and short heads."""
    seeds, steps = (2, 20) if small else (SEEDS, 150)
    tables: list[dict[str, Any]] = []
    left_out: list[str] = []
    for name in ("digits",) if small else ("digits", "fashion", "cifar"):
        try:
            for ratio in (50,) if small else RATIOS:
                tables += of_set(name, ratio, seeds, steps)
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
    return {"tables": tables, "left out": left_out}


def of_set(name: str, ratio: int, seeds: int, steps: int) -> list[dict[str, Any]]:
    """Balanced accuracy of all contenders, and that of the many, the medium and the few."""
    scores: dict[str, dict[str, list[float]]] = {part: {} for part in ("all", *PARTS)}
    for seed in range(seeds):
        cut = drawn(name, ratio, seed)
        rank = np.argsort(cut.train.counts(), kind="stable")
        for who, answer in answers(cut, seed, steps if ratio in WITH_HEADS else 0):
            for part, value in judged(cut.test.y, answer, rank).items():
                scores[part].setdefault(who, []).append(value)
    where = f"{TITLE[name]}, 1:{ratio}"
    metric = {
        "all": "balanced accuracy",
        "many": "accuracy on the 3 largest classes",
        "medium": "accuracy on the 4 classes between",
        "few": "accuracy on the 3 smallest classes",
    }
    claims = claimed(ratio in WITH_HEADS)
    return [
        table(where, metric[part], runs, claims if part in ("all", "few") else [])
        for part, runs in scores.items()
    ]


def claimed(heads: bool) -> list[Claim]:
    """What is compared with what."""
    prior, even = "methods/prior_correction.py", "methods/balanced_gda.py"
    told = [Claim("prior-correction", prior, PRIOR, other) for other in (LOGISTIC, WEIGHTED)]
    told.append(Claim("balanced-gda", even, COVARIANCE, EVEN))
    file = "methods/subclass_contrastive.py"
    others = (WHOLE, RANDOM, REWEIGHTED, ALONE, PRIOR) if heads else ()
    return told + [Claim(ROW, file, SBCL, other) for other in others]


def answers(cut: Cut, seed: int, steps: int) -> Answers:
    """The answer of every contender on the test rows; heads only where `steps` is above 0."""
    plain: dict[str, Method] = {
        LOGISTIC: LogisticRegression(seed=seed),
        PRIOR: PriorCorrection(seed=seed),
        GAUSSIAN: GDA(),
        EVEN: GDA(uniform=True),
        COVARIANCE: BalancedGDA(),
    }
    for name, method in plain.items():
        yield name, method.fit(cut.train).logits(cut.test.x).argmax(1)
    yield WEIGHTED, weighed(cut, seed)
    if not steps:
        return
    head = SubclassContrastive(steps=steps, seed=seed)
    heads = {
        SBCL: head,
        RANDOM: replace(head, clustered=False),
        WHOLE: replace(head, size=len(cut.train)),
    }
    for name, method in heads.items():
        yield name, method.fit(cut.train).logits(cut.test.x).argmax(1)
    net = reweighted(cut.train, head.hidden, steps, seed)
    yield ALONE, net.model().logits(cut.test.x).argmax(1)
    yield REWEIGHTED, balanced(net, cut.train, seed).logits(cut.test.x).argmax(1)


def judged(y: Labels, answer: Labels, rank: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy averaged over all classes, and over each part of them; `rank` is rarest first."""
    told = {"all": macro_accuracy(y, answer)}
    for name, at in PARTS.items():
        rows = np.isin(y, rank[at])
        told[name] = macro_accuracy(y[rows], answer[rows])
    return told
