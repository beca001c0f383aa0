"""One line for each way in which labels fall short: what helps, by how much, and what does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ilk.pages.markdown import spread_text, table_text

Found = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Line:
    """A comparison that the README shows.

    Attributes:
        told: The condition, in words.
        bench, where, metric: The table that settles it.
        method: What one would type.
        against: The strongest simple baseline of that table.
        typed: How the method is typed, where the table calls it otherwise.
    """

    told: str
    bench: str
    where: str
    metric: str
    method: str
    against: str
    typed: str = ""


FEW, TASKS = "CIFAR-10 through MobileNetV2, queries of", "mean accuracy over tasks"
MEAN, LOGISTIC, ALPHA = "nearest class mean", "LogisticRegression", "AlphaTIM(guard=False)"
LINES = (
    Line(
        "4 labels a class; the 75 others are of 2 of 5 classes",
        *("few_labels", f"{FEW} 2 of 5 classes", TASKS, "AlphaTIM", MEAN, ALPHA),
    ),
    Line(
        "4 labels a class; the others are of all 5",
        *("few_labels", f"{FEW} all of 5 classes", TASKS, "AlphaTIM", MEAN, ALPHA),
    ),
    Line(
        "labels that people got wrong",
        *("wrong_labels", "CIFAR-10, what people wrote (worse)", "accuracy on clean test rows"),
        *("EarlyLearning", LOGISTIC),
    ),
    Line(
        "a long tail, 1 to 50",
        *("unbalanced", "CIFAR-10 through MobileNetV2, 1:50", "balanced accuracy"),
        *("PriorCorrection", "LogisticRegression, classes weighed"),
    ),
    Line(
        "a class that comes later",
        *("add", "CIFAR-10", "accuracy", "GDA() grown", "GDA() fitted again", "ilk add"),
    ),
    Line(
        "half the classes unnamed, their number unknown",
        *("unknown_classes", "CIFAR-10", "matched accuracy, all rows without a label"),
        *("GaussianMixtureDiscovery", "SemiSupervisedKMeans, told the number", "ilk discover"),
    ),
    Line(
        "other class shares where it is used",
        *("label_shift", "CIFAR-10, GDA, Dirichlet 0.3, 1 and 10", "accuracy"),
        *("ilk adapt", "as it was"),
    ),
    Line(
        "a style of pictures that was never seen",
        *("changed_world", "PACS, a style left out", "accuracy on the domain left out"),
        *("DRM", "logistic regression"),
    ),
    Line(
        "only normal images",
        *("normal_or_not", "CIFAR-10, MobileNetV2", "area under the ROC curve"),
        *("GaussianAnomaly()", "diagonal Gaussian", "ilk normal"),
    ),
)


def labels_block(found: Found) -> str:
    """The table of the README."""
    rows = [_row(line, found[line.bench]) for line in LINES if line.bench in found]
    head = ("", "measured", "with", "it reads", "strongest simple rival", "it reads", "difference")
    return table_text(head, rows)


def _row(line: Line, told: dict[str, Any]) -> tuple[str, ...]:
    """One line.

    Raises:
        ValueError: The benchmark did not compare the two there.
    """
    for table in told["result"]["tables"]:
        if (table["where"], table["metric"]) != (line.where, line.metric):
            continue
        scores = {row["method"]: spread_text(row["score"]) for row in table["scores"]}
        for claim in table["claims"]:
            if (claim["method"], claim["against"]) == (line.method, line.against):
                return (
                    line.told,
                    line.metric,
                    f"`{line.typed or line.method}`",
                    scores[line.method],
                    line.against,
                    scores[line.against],
                    spread_text(claim["difference"]),
                )
    raise ValueError(f"{line.bench} does not compare {line.method} with {line.against}")
