"""Rules of a decision tree: how often each applies and is right, and what would flip it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features

MARGIN = 1e-3  # of a standard deviation, by which a counterfactual passes a threshold


@dataclass(frozen=True)
class Condition:
    """`low < feature <= high`; an infinite end does not bind.

    Attributes:
        feature: Position of the feature.
        low: Lower end, excluded.
        high: Upper end, included.
    """

    feature: int
    low: float = -np.inf
    high: float = np.inf

    def holds(self, x: Features) -> NDArray[np.bool_]:
        """Return for which rows `[n, d]` it holds, `[n]`."""
        values = np.asarray(x, np.float32)[:, self.feature]
        return np.asarray((values > self.low) & (values <= self.high))

    def describe(self, names: Sequence[str]) -> str:
        """Return it in words, such as `width > 2.5`."""
        name = names[self.feature]
        if np.isinf(self.low):
            return f"{name} <= {self.high:.4g}"
        if np.isinf(self.high):
            return f"{name} > {self.low:.4g}"
        return f"{self.low:.4g} < {name} <= {self.high:.4g}"


@dataclass(frozen=True)
class Rule:
    """A path from the root of a tree to a leaf.

    Attributes:
        conditions: What must hold, one condition per feature; none for a tree of one leaf.
        label: The answer.
        support: Rows that it applies to.
        coverage: Their share of all rows.
        precision: The share of them to which the black box gives this answer.
    """

    conditions: tuple[Condition, ...]
    label: Any
    support: int
    coverage: float
    precision: float

    def holds(self, x: Features) -> NDArray[np.bool_]:
        """Return which rows `[n, d]` it applies to, `[n]`."""
        held = np.ones(len(x), bool)
        for condition in self.conditions:
            held &= condition.holds(x)
        return held

    def describe(self, names: Sequence[str]) -> str:
        """Return it as a sentence."""
        conditions = " and ".join(c.describe(names) for c in self.conditions) or "always"
        return (
            f"{conditions} -> {self.label} ({self.support} rows, {self.coverage:.0%} of all; "
            f"right for {self.precision:.0%} of them)"
        )


@dataclass(frozen=True)
class Counterfactual:
    """The smallest change of features that takes a row to a rule with another answer.

    Attributes:
        row: The changed row, `[d]` float32.
        changed: Positions of the features that change.
        label: The answer of the rule for the changed row.
        cost: Sum of the absolute changes in standard deviations.
        flips_black_box: Whether the black box gives the changed row that answer too.
    """

    row: Features
    changed: tuple[int, ...]
    label: Any
    cost: float
    flips_black_box: bool


def read_rules(
    tree: Any, columns: NDArray[np.int64], x: Features, labels: NDArray[Any]
) -> tuple[Rule, ...]:
    """Return the rules of a fitted tree of scikit-learn, those with most rows first.

    A split whose leaves all give one answer is left out.

    Args:
        tree: Fitted to `x[:, columns]` and the labels of the black box.
        columns: Positions of its features, `[k]`.
        x: Rows that support, coverage and precision are counted on, `[n, d]`.
        labels: Labels of the black box for them, `[n]`.
    """
    inner = tree.tree_
    rules: list[Rule] = []

    def find_answers(node: int) -> set[int]:
        if inner.children_left[node] < 0:
            return {int(inner.value[node][0].argmax())}
        children = inner.children_left[node], inner.children_right[node]
        return set().union(*(find_answers(child) for child in children))

    def visit(node: int, bounds: dict[int, tuple[float, float]]) -> None:
        answers = find_answers(node)
        if len(answers) == 1:
            path = tuple(Condition(j, low, high) for j, (low, high) in sorted(bounds.items()))
            label = tree.classes_[answers.pop()]
            held = Rule(path, label, 0, 0.0, 0.0).holds(x)
            n = int(held.sum())
            precision = float(np.mean(labels[held] == label)) if n else 0.0
            rules.append(Rule(path, label, n, n / max(1, len(x)), precision))
            return
        j, threshold = int(columns[inner.feature[node]]), float(inner.threshold[node])
        low, high = bounds.get(j, (-np.inf, np.inf))
        visit(inner.children_left[node], {**bounds, j: (low, min(high, threshold))})
        visit(inner.children_right[node], {**bounds, j: (max(low, threshold), high)})

    visit(0, {})
    return tuple(sorted(rules, key=lambda rule: -rule.support))


def find_smallest_change(
    row: Features, rules: Sequence[Rule], label: Any, scale: NDArray[np.float64]
) -> tuple[Features, Rule, float] | None:
    """Return the row nearest to `row` where a rule has another answer than `label`.

    With it come the rule and the distance, the sum of changes in units of `scale [d]`. None if all
    rules have one answer.
    """
    row = np.asarray(row, np.float32)
    best: tuple[Features, Rule, float] | None = None
    for rule in rules:
        if rule.label == label:
            continue
        changed = row.copy()
        for condition in rule.conditions:
            j = condition.feature
            margin = MARGIN * scale[j]
            if changed[j] <= condition.low:
                changed[j] = min(condition.low + margin, condition.high)
                if changed[j] <= condition.low:  # the margin is lost in rounding
                    changed[j] = np.nextafter(changed[j], np.float32(np.inf))
            elif changed[j] > condition.high:
                changed[j] = condition.high
                if changed[j] > condition.high:  # it was rounded up
                    changed[j] = np.nextafter(changed[j], np.float32(-np.inf))
        cost = float(np.sum(np.abs(changed - row) / scale))
        if best is None or cost < best[2]:
            best = changed, rule, cost
    return best
