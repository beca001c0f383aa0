"""Tables that compare methods: scores by seed, and paired differences from baselines.

A benchmark that compares methods returns `{"tables": [...]}`; `tools.docs` makes `docs/results.md`
and the comparisons in `docs/methods.md` from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.runner import summarize

Direction = Literal["higher", "lower"]
AHEAD, BEHIND, TIED = "ahead", "behind", "not significant"


@dataclass(frozen=True)
class Claim:
    """A comparison of a method with a baseline.

    Attributes:
        entry: Identifier of the method in the catalogue of papers, such as `unem`.
        file: File of the method below `src/ilk/`, such as `methods/unem.py`.
        method: Name of the method in the table.
        baseline: Name of the baseline in the table.
    """

    entry: str
    file: str
    method: str
    baseline: str


def make_table(
    setting: str,
    metric: str,
    scores: Mapping[str, Sequence[float]],
    claims: Sequence[Claim],
    better: Direction = "higher",
) -> dict[str, Any]:
    """Return one table: the score of every method over seeds, and the outcome of each claim.

    Args:
        setting: Data set and condition, such as "digits, 40 % symmetric noise".
        metric: What is measured, such as "test accuracy".
        scores: One score per seed for each method; the same seeds in the same order for all.
        claims: The comparisons.
        better: Whether higher or lower values of the metric are better.

    Raises:
        ValueError: If methods have different numbers of seeds, or a claim names an unknown method.
    """
    seeds = {len(values) for values in scores.values()}
    if len(seeds) != 1:
        raise ValueError(
            f"{setting}: methods have {sorted(seeds)} seeds; give all of them the same"
        )
    return {
        "setting": setting,
        "metric": metric,
        "better": better,
        "seeds": seeds.pop(),
        "scores": [{"method": name, "score": summarize(v)} for name, v in scores.items()],
        "claims": [_evaluate_claim(claim, scores, better) for claim in claims],
    }


def _evaluate_claim(
    claim: Claim, scores: Mapping[str, Sequence[float]], better: Direction
) -> dict[str, Any]:
    """Return a claim with its paired difference (positive: the method is better) and verdict."""
    for name in (claim.method, claim.baseline):
        if name not in scores:
            raise ValueError(f"the claim {claim.entry} names {name!r}, which is not in the table")
    sign = 1.0 if better == "higher" else -1.0
    pairs = zip(scores[claim.method], scores[claim.baseline], strict=True)
    difference = summarize([sign * (ours - theirs) for ours, theirs in pairs])
    mean, half = difference["mean"], difference["half_width"]
    is_significant = half is not None and mean is not None and abs(mean) > half
    verdict = (AHEAD if (mean or 0) > 0 else BEHIND) if is_significant else TIED
    return {
        "entry": claim.entry,
        "file": claim.file,
        "method": claim.method,
        "baseline": claim.baseline,
        "difference": difference,
        "verdict": verdict,
    }


def describe_claims(
    tables: Sequence[Mapping[str, Any]], keys: Sequence[str] = ("setting",)
) -> list[str]:
    """Return one sentence per claim of tables, each with some entries of its table before it."""
    return [
        f"{', '.join(table[key] for key in keys)}: {claim['method']} is {claim['verdict']} against "
        f"{claim['baseline']} ({claim['difference']['mean']:+.3f})"
        for table in tables
        for claim in table["claims"]
    ]
