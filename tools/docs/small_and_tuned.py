"""The README's table of figures for tuned, distilled, compressed, condensed and selected models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.docs.markdown import format_interval, format_table

BenchmarkRecords = dict[str, dict[str, Any]]
Row = tuple[str, str]


def build_small_and_tuned_block(records: BenchmarkRecords) -> str:
    """Return the table; of benchmarks without a full result it has no rows."""
    rows: list[Row] = []
    for name, render in RENDERERS.items():
        if name in records:
            rows += render(records[name]["result"])
    return format_table(("", "measured"), rows)


def _read_scores(table: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["method"]: row["score"] for row in table["scores"]}


def _render_finetune(result: dict[str, Any]) -> Iterator[Row]:
    for table in result["tables"]:
        if table["setting"].startswith("PACS, without"):
            continue
        scores, gains = _read_scores(table), table["differences from frozen"]
        yield (
            f"`ilk finetune`, {table['setting']}: test accuracy of what it chose, tuned or frozen",
            (
                f"{format_interval(scores['kept'])}; frozen {format_interval(scores['frozen'])}, "
                f"difference {format_interval(gains['kept'])}; always tuned "
                f"{format_interval(scores['tuned'])}; {table['tuning seconds']['mean']:.0f} s"
            ),
        )


def _render_distill(result: dict[str, Any]) -> Iterator[Row]:
    for table, found in zip(result["tables"], result["sets"].values(), strict=True):
        scores = _read_scores(table)
        teacher = next(score for name, score in scores.items() if name.startswith("teacher"))
        parameters = found["cost"]["student"]["parameters"]
        student = f"`ilk distill`, student `{result['student']}` ({parameters:,} parameters)"
        yield (
            f"{student}, {table['setting']}: test accuracy",
            (
                f"{format_interval(scores['distilled'])}; trained on labels alone "
                f"{format_interval(scores['labels alone'])}; teacher {teacher['mean']:.3f}"
            ),
        )


def _render_compress(result: dict[str, Any]) -> Iterator[Row]:
    changes, bars = result["summary"]["8 bits"], result["bars"]
    size = result["costs"]["8 bits"]["size_ratio"]
    yield (
        "`ilk compress` to 8 bits, PACS, EfficientNet-Lite0: change of accuracy and of coverage",
        (
            f"{format_interval(changes['accuracy']['change'])} and "
            f"{format_interval(changes['coverage']['change'])}; {size:.0%} of the size, "
            f"{bars['speed_at_the_best_batch_size_of_each']:.1f} times as fast as float32 in "
            "OpenVINO"
        ),
    )


def _render_condense(result: dict[str, Any]) -> Iterator[Row]:
    table = result["tables"][0]
    scores = _read_scores(table)
    others = ("random real images", "herding", "class-wise gradient matching (DC)")
    rivals = "; ".join(
        f"{name} {format_interval(scores[name])}" for name in others if name in scores
    )
    best = max(scores, key=lambda name: scores[name]["mean"])
    yield (
        f"`ilk condense`, {table['setting']}: test accuracy of a small network",
        f"{format_interval(scores[best])} ({best}); {rivals}",
    )


def _render_select(result: dict[str, Any]) -> Iterator[Row]:
    for table in result["tables"]:
        scores = _read_scores(table)
        if "ilk select" not in scores or "30 %" in table["setting"]:
            continue
        yield (
            f"`ilk select`, {table['setting']} kept: test accuracy",
            (
                f"{format_interval(scores['ilk select'])}; as many random images "
                f"{format_interval(scores['random images'])}; all images "
                f"{format_interval(scores['all images'])}"
            ),
        )


RENDERERS = {
    "finetune": _render_finetune,
    "distill": _render_distill,
    "compress": _render_compress,
    "condense": _render_condense,
    "select": _render_select,
}
