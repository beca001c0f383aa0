"""The README's table of figures for many images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.docs.markdown import format_interval, format_table

BenchmarkRecords = dict[str, dict[str, Any]]
Row = tuple[str, str]


def build_many_images_block(records: BenchmarkRecords) -> str:
    """Return the table; of benchmarks without a full result it has no rows."""
    rows: list[Row] = []
    for name, render in RENDERERS.items():
        if name in records:
            rows += render(records[name]["result"])
    return format_table(("", "measured"), rows)


def _render_fit(result: dict[str, Any]) -> Iterator[Row]:
    costs, growth = result["costs"]["1000000"], result["growth"]
    fit, sums = costs["fit"], costs["one_pass"]
    yield (
        "`ilk fit` on shards of 1,000,000 x 768 features, 100 classes, encoding not included",
        (
            f"{fit['seconds']:.0f} s, peak memory {fit['peak_gigabytes']:.1f} GB; "
            f"{growth['seconds_of_the_fit']:.1f} times as long as for 100,000 rows"
        ),
    )
    yield (
        "GDA and ridge in one pass over these features, memory-mapped",
        (
            f"{sums['speed_of_the_pass_to_bare_products']:.2f} times the speed of the bare matrix "
            f"products, peak memory {costs['memory']['peak_gigabytes']:.2f} GB"
        ),
    )


def _render_search(result: dict[str, Any]) -> Iterator[Row]:
    name = "simulated, 1,000,000 x 768"
    found = next(c for c in result["collections"] if c["name"].startswith(name))
    rows = {row["kind"]: row for row in found["rows"]}
    for kind, words in (("Exact", "exact"), ("HNSW", "HNSW"), ("HashCodes()", "hash codes")):
        row = rows[kind]
        yield (
            f"`ilk search` among 1,000,000 x 768, one query at a time on one core, {words}",
            (
                f"{row['queries_per_second']:.0f} queries per second, "
                f"recall@10 {row['recall_at_10']:.3f}, built in {row['build_seconds']:.0f} s"
            ),
        )


def _render_duplicates(result: dict[str, Any]) -> Iterator[Row]:
    for name in ("PACS", "CIFAR-10", "MNIST"):
        rows = {r["method"]: r for r in result["planted copies"] if r["set"] == name}
        rivals = {k: r for k, r in rows.items() if not k.startswith(("ilk", "DCT hash and"))}
        fixed = {k: r for k, r in rivals.items() if "hindsight" not in k}
        best = max(fixed, key=lambda k: fixed[k]["F1 of pairs"]["mean"])
        ours = rows["ilk duplicates"]
        yield (
            f"`ilk duplicates`, copies planted among {name}: F1 of pairs",
            (
                f"{format_interval(ours['F1 of pairs'])} (precision "
                f"{ours['precision of pairs']['mean']:.2f}, recall "
                f"{ours['recall of pairs']['mean']:.2f}); best of perceptual hash and fixed "
                f"cosine threshold: {format_interval(fixed[best]['F1 of pairs'])} ({best})"
            ),
        )


def _render_cluster(result: dict[str, Any]) -> Iterator[Row]:
    for key, words in (
        ("worker_killed", "a worker killed"),
        ("command_killed", "the command killed and repeated"),
    ):
        kills = result[key]
        yield (
            (
                f"`ilk encode photos/ --out shards/ --on ray`, {result['images']:,} images, "
                f"{words} at a random moment"
            ),
            f"every row exactly once in {kills['good']} of {kills['runs']} runs",
        )


RENDERERS = {
    "out_of_core": _render_fit,
    "search": _render_search,
    "duplicates": _render_duplicates,
    "cluster": _render_cluster,
}
