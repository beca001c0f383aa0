"""The table of a family of methods: scores by seed, and paired differences from a baseline.

A benchmark of a family hands back `{"tables": [...]}`; `docs/results.md` and the verdicts in
`docs/methods.md` are made from it. Nothing here knows a method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ilk.bench import spread

Better = Literal["higher", "lower"]
AHEAD, BEHIND, LEVEL = "ahead", "behind", "not told apart"


@dataclass(frozen=True)
class Claim:
    """A comparison that a table is to settle.

    Attributes:
        row: The method's identifier in the catalogue, such as `unem`.
        file: Where it lives, below `src/ilk/`, such as `methods/unem.py`.
        method: Its name in the table.
        against: The baseline's name in the table.
    """

    row: str
    file: str
    method: str
    against: str


def table(
    where: str,
    metric: str,
    scores: Mapping[str, Sequence[float]],
    claims: Sequence[Claim],
    better: Better = "higher",
) -> dict[str, Any]:
    """One table: every contender's score over seeds, and what each claim came to.

    Args:
        where: The set and the condition, such as "digits, 40 % symmetric noise".
        metric: What is counted, such as "test accuracy".
        scores: One figure a seed for each contender; the same seeds in the same order for all.
        claims: What is compared with what.
        better: Whether more or less of the metric is wanted.

    Raises:
        ValueError: Contenders have different numbers of seeds, or a claim names none of them.
    """
    seeds = {len(values) for values in scores.values()}
    if len(seeds) != 1:
        raise ValueError(f"{where}: contenders have {sorted(seeds)} seeds; give all the same")
    return {
        "where": where,
        "metric": metric,
        "better": better,
        "seeds": seeds.pop(),
        "scores": [{"method": name, "score": spread(v)} for name, v in scores.items()],
        "claims": [_settled(claim, scores, better) for claim in claims],
    }


def _settled(claim: Claim, scores: Mapping[str, Sequence[float]], better: Better) -> dict[str, Any]:
    """A claim with its paired difference and its verdict; positive is better for the method."""
    for name in (claim.method, claim.against):
        if name not in scores:
            raise ValueError(f"the claim {claim.row} names {name!r}, which is not in the table")
    sign = 1.0 if better == "higher" else -1.0
    pairs = zip(scores[claim.method], scores[claim.against], strict=True)
    gap = spread([sign * (ours - theirs) for ours, theirs in pairs])
    mean, half = gap["mean"], gap["half_width"]
    apart = half is not None and mean is not None and abs(mean) > half
    verdict = (AHEAD if (mean or 0) > 0 else BEHIND) if apart else LEVEL
    return {
        "row": claim.row,
        "file": claim.file,
        "method": claim.method,
        "against": claim.against,
        "difference": gap,
        "verdict": verdict,
    }
