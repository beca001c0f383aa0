"""Rules that stand in for a black box on tables of many features.

Md. Rezaul Karim, Md. Shajalal, Alex Graß, Till Döhmen, Sisay Adugna Chala, Alexander Boden,
Christian Beecks, Stefan Decker, 2022, Interpreting Black-box Machine Learning Models for High
Dimensional Datasets, arXiv 2208.13405.

Probes rank the features by how much the black box uses them (`ilk.explain.feature_probes`), the
average of their ranks selects the first k, and a small decision tree learns the black box's answers
from those. Its paths are the rules; how often they agree with the black box on rows that neither
the ranking nor the tree has seen, their fidelity, says what they are worth.

Departure: the paper fixes k. Here it is the smallest whose fidelity in cross-validation is within a
standard error of the best, so that no test row has a say.

    explanation = explain_with_rules(model.predict_proba, x, names=columns)
    print(explanation.to_text())
    explanation.measure_fidelity(model.predict_proba, x_test)
    explanation.explain_row(model.predict_proba, x_test[0])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.core.errors import InputError
from ilk.explain.feature_probes import (
    BlackBox,
    Scores,
    answer_labels,
    average_ranks,
    probe_features,
)
from ilk.explain.rules import Counterfactual, Rule, find_smallest_change, read_rules

CANDIDATE_KS = (1, 2, 3, 5, 7, 10, 15, 20, 30)
N_FOLDS = 5
MIN_LEAF_ROWS = 3


@dataclass(frozen=True, eq=False)
class RuleExplanation:
    """Rules in place of a black box.

    Attributes:
        names: Names of all d features.
        selected: Positions of the k features that the rules may use, most important first.
        importance: Mean rank of every feature over the probes, `[d]`.
        probes: Importance of every feature by each probe, `[d]` each.
        rules: The rules, those with most rows first; exactly one applies to any row.
        scale: Standard deviation of each feature, `[d]`, > 0: the unit of changes.
    """

    names: tuple[str, ...]
    selected: NDArray[np.int64]
    importance: Scores
    probes: dict[str, Scores]
    rules: tuple[Rule, ...]
    scale: Scores

    def predict(self, x: Features) -> NDArray[Any]:
        """Return the answers of the rules for rows `[n, d]`, `[n]`."""
        x = _check_rows(x, len(self.names))
        out = np.empty(len(x), np.asarray([rule.label for rule in self.rules]).dtype)
        for rule in self.rules:
            out[rule.holds(x)] = rule.label
        return out

    def measure_fidelity(self, predict: BlackBox, x: Features) -> float:
        """Return the share of rows `[n, d]` for which the rules answer as the black box does."""
        return float(np.mean(self.predict(x) == answer_labels(predict, x)))

    def find_rule(self, row: Features) -> Rule:
        """Return the rule that applies to a row `[d]`."""
        x = _check_rows(np.asarray(row)[None], len(self.names))
        return next(rule for rule in self.rules if rule.holds(x)[0])

    def explain_row(self, predict: BlackBox, row: Features) -> tuple[Rule, Counterfactual | None]:
        """Return the rule of a row `[d]`, and the smallest change that leads to another answer.

        The change is None if all rules have one answer.
        """
        rule = self.find_rule(row)
        change = find_smallest_change(row, self.rules, rule.label, self.scale)
        if change is None:
            return rule, None
        other, reached, cost = change
        flips = bool(answer_labels(predict, other[None])[0] == reached.label)
        differs = other != np.asarray(row, np.float32)
        columns = tuple(int(j) for j in np.flatnonzero(differs))
        return rule, Counterfactual(other, columns, reached.label, cost, flips)

    def describe_row(self, predict: BlackBox, row: Features) -> str:
        """Return what `explain_row` finds for a row `[d]` in words."""
        rule, change = self.explain_row(predict, row)
        text = rule.describe(self.names)
        if change is None:
            return text
        changes = " and ".join(f"{self.names[j]} were {change.row[j]:.4g}" for j in change.changed)
        agrees = "the black box agrees" if change.flips_black_box else "the black box does not"
        return f"{text}. It would be {change.label} if {changes}; {agrees}."

    def to_text(self) -> str:
        """Return all rules, one a line."""
        return "\n".join(rule.describe(self.names) for rule in self.rules)


def explain_with_rules(
    predict: BlackBox,
    x: Features,
    *,
    k: int | None = None,
    names: Sequence[str] | None = None,
    max_depth: int = 5,
    selected: Sequence[int] | None = None,
    seed: int = 0,
) -> RuleExplanation:
    """Explain a function of rows by rules on the features that it uses most.

    Args:
        predict: The black box: rows `[n, d]` -> labels `[n]` or probabilities `[n, k]`. With
            probabilities, labels are positions of columns, and gradients are probed too.
        x: Rows to learn from, `[n, d]`, finite, without labels; best others than the black box was
            fitted to, since it may know those by heart.
        k: Number of features; None chooses it by cross-validation.
        names: Names of the features; by default `feature 0` and so on.
        max_depth: The most conditions on a path of the tree, >= 1.
        selected: Positions of the features to use, which skips the ranking.
        seed: Seed of everything random.

    Raises:
        InputError: The rows, or what the function returns for them, cannot be used.
    """
    x = _check_rows(x)
    n, d = x.shape
    if n < 2 * N_FOLDS:
        raise InputError(f"{n} rows are too few to learn rules from; give {2 * N_FOLDS} or more")
    names = [f"feature {j}" for j in range(d)] if names is None else names
    feature_names = tuple(map(str, names))
    if len(feature_names) != d:
        raise InputError(f"{len(feature_names)} names for {d} features; give one per feature")
    if max_depth < 1 or (k is not None and not 1 <= k <= d):
        raise InputError(f"max_depth {max_depth} must be at least 1 and k {k} from 1 to {d}")
    labels = answer_labels(predict, x)
    if selected is None:
        probes = probe_features(predict, x, seed)
        importance = average_ranks(probes)
        order = np.argsort(-importance, kind="stable")
    else:
        probes, importance = {}, np.zeros(d)
        order, k = np.asarray(selected, np.int64), len(selected)
        if not k or order.min() < 0 or order.max() >= d or len(set(order.tolist())) < k:
            raise InputError(f"selected must be different positions from 0 to {d - 1}")
    if k is None:
        k = _choose_k(x, labels, order, max_depth, seed)
    columns = order[:k].astype(np.int64)
    tree = _fit_tree(x[:, columns], labels, max_depth, seed)
    std = x.std(0, dtype=np.float64)
    scale = np.where(std > 0, std, 1.0)
    return RuleExplanation(
        feature_names, columns, importance, probes, read_rules(tree, columns, x, labels), scale
    )


def _fit_tree(x: Features, labels: NDArray[Any], max_depth: int, seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(
        max_depth=max_depth, min_samples_leaf=MIN_LEAF_ROWS, random_state=seed
    )
    return tree.fit(x, labels)


def _choose_k(
    x: Features, labels: NDArray[Any], order: NDArray[np.int64], max_depth: int, seed: int
) -> int:
    """Return the smallest k whose held-out fidelity is within a standard error of the best."""
    candidates = [k for k in CANDIDATE_KS if k <= len(order)] or [len(order)]
    fold = np.random.default_rng(seed).permutation(len(x)) % N_FOLDS
    fidelity = np.zeros((len(candidates), N_FOLDS))
    for i, k in enumerate(candidates):
        for f in range(N_FOLDS):
            tree = _fit_tree(x[fold != f][:, order[:k]], labels[fold != f], max_depth, seed)
            held_out = tree.predict(x[fold == f][:, order[:k]])
            fidelity[i, f] = np.mean(held_out == labels[fold == f])
    mean = fidelity.mean(1)
    best = int(mean.argmax())
    error = fidelity[best].std(ddof=1) / np.sqrt(N_FOLDS)
    return candidates[int(np.flatnonzero(mean >= mean[best] - error)[0])]


def _check_rows(x: Features, d: int | None = None) -> Features:
    """Return rows as float32; refuse what is not a finite table, or of another width than `d`."""
    x = np.asarray(x, np.float32)
    if x.ndim != 2 or (d is not None and x.shape[1] != d):
        width = "d" if d is None else str(d)
        raise InputError(f"the rows have shape {x.shape}; give an array [n, {width}]")
    if not np.isfinite(x).all():
        raise InputError("the rows are not all finite; fill in or leave out missing values first")
    return x
