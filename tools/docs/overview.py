"""The README's table of label conditions: a method against the strongest simple baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tools.docs.markdown import format_interval, format_table

BenchmarkRecords = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """A comparison shown in the README.

    Attributes:
        condition: The condition, in words.
        bench, setting, metric: The table that contains it.
        method: Name of the method in that table.
        baseline: The strongest simple baseline of that table.
        command: How to invoke the method, if the table uses another name.
    """

    condition: str
    bench: str
    setting: str
    metric: str
    method: str
    baseline: str
    command: str = ""


FEW_LABELS, TASKS = "CIFAR-10 through MobileNetV2, queries of", "mean accuracy over tasks"
LOGISTIC, ALPHA = "LogisticRegression", "AlphaTIM(guard=False)"
COMPARISONS = (
    Comparison(
        "photos and drawings, 30 per class, on EfficientNet-Lite0",
        *("ensembles", "PACS, four styles, 30 training images per class", "test accuracy"),
        *("ilk default", "scikit-learn's best", "ilk fit"),
    ),
    Comparison(
        "4 labels per class; 75 unlabelled images from 2 of 5 classes",
        *("few_labels", f"{FEW_LABELS} 2 of 5 classes", TASKS, "AlphaTIM", LOGISTIC, ALPHA),
    ),
    Comparison(
        "4 labels per class; 75 unlabelled images from all 5 classes",
        *("few_labels", f"{FEW_LABELS} all of 5 classes", TASKS, "AlphaTIM", LOGISTIC, ALPHA),
    ),
    Comparison(
        "50 labels of photographs, in the order in which the page asks",
        *("labelling", "photographs of PACS, 50 labels", "test accuracy"),
        *("as ilk label asks", "random", "ilk label"),
    ),
    Comparison(
        "50 labels of small photographs, in the order in which the page asks",
        *("labelling", "CIFAR-10 as JPEG, 50 labels", "test accuracy"),
        *("as ilk label asks", "random", "ilk label"),
    ),
    Comparison(
        "noisy human labels",
        *("wrong_labels", "CIFAR-10, human labels (worse)", "accuracy on clean test rows"),
        *("ELR", LOGISTIC),
    ),
    Comparison(
        "long tail, imbalance 100",
        *("unbalanced", "CIFAR-10 through MobileNetV2, 1:100", "balanced accuracy"),
        *("PriorCorrection", "LogisticRegression, class-weighted"),
    ),
    Comparison(
        "a class added later",
        *("add", "CIFAR-10", "accuracy", "GDA() extended", "GDA() refitted", "ilk add"),
    ),
    Comparison(
        "half of the classes unnamed, their number unknown",
        *("unknown_classes", "CIFAR-10", "matched accuracy, all rows without a label"),
        *("GaussianMixtureDiscovery", "SemiSupervisedKMeans, known number", "ilk discover"),
    ),
    Comparison(
        "different class priors at test time",
        *("label_shift", "CIFAR-10, GDA, Dirichlet 0.3, 1 and 10", "accuracy"),
        *("ilk adapt", "not adapted"),
    ),
    Comparison(
        "an unseen image style",
        *("changed_world", "PACS, one style held out", "accuracy on the held-out domain"),
        *("DRM", "logistic regression"),
    ),
    Comparison(
        "normal images only; defects",
        *("normal_or_not", "stained tissue, painted defects", "area under the ROC curve"),
        *("chosen (default)", "GaussianAnomaly", "ilk detect"),
    ),
    Comparison(
        "normal images only; images of other classes",
        *("normal_or_not", "CIFAR-10 images, other classes", "area under the ROC curve"),
        *("chosen (default)", "GaussianAnomaly", "ilk detect"),
    ),
)


def build_labels_block(records: BenchmarkRecords) -> str:
    """Return the table."""
    rows = [
        _render_row(comparison, records[comparison.bench])
        for comparison in COMPARISONS
        if comparison.bench in records
    ]
    header = (
        "",
        "metric",
        "method",
        "score",
        "strongest simple baseline",
        "score",
        "difference",
    )
    return format_table(header, rows)


def _render_row(comparison: Comparison, record: dict[str, Any]) -> tuple[str, ...]:
    """Return the cells of one comparison.

    Raises:
        ValueError: If the benchmark does not compare the two in that table.
    """
    for table in record["result"]["tables"]:
        if (table["setting"], table["metric"]) != (comparison.setting, comparison.metric):
            continue
        scores = {row["method"]: format_interval(row["score"]) for row in table["scores"]}
        for claim in table["claims"]:
            if (claim["method"], claim["baseline"]) == (comparison.method, comparison.baseline):
                return (
                    comparison.condition,
                    comparison.metric,
                    f"`{comparison.command or comparison.method}`",
                    scores[comparison.method],
                    comparison.baseline,
                    scores[comparison.baseline],
                    format_interval(claim["difference"]),
                )
    raise ValueError(
        f"{comparison.bench} does not compare {comparison.method} with {comparison.baseline}"
    )
