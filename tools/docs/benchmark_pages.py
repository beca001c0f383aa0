"""Pages and README blocks with figures, taken from the JSON files that `ilk bench` wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.docs.many_images import build_many_images_block
from tools.docs.markdown import format_interval, format_table, render_results
from tools.docs.overview import build_labels_block
from tools.docs.small_and_tuned import build_small_and_tuned_block


def load_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return every full result in `folder` by the name of its benchmark."""
    records = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}
    return {name: record for name, record in sorted(records.items()) if not record["small"]}


def fill_blocks(page: str, blocks: dict[str, str]) -> str:
    """Return `page` with new text between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: If the page has no such block.
    """
    for name, block in blocks.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
        block_match = pattern.search(page)
        if block_match is None:
            raise ValueError(
                f"the page has no block for {name}; add <!-- {name} --> and <!-- /{name} -->"
            )
        page = f"{page[: block_match.end(1)]}{block}\n{page[block_match.start(2) :]}"
    return page


def build_readme_blocks(records: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the text of each block of the README by name."""
    digits = records["digits"]
    demo = next(row for row in digits["result"]["rows"] if row["faults"] and row["seed"] == 0)
    return {
        "leaderboard": _render_leaderboard(demo["leaderboard"]),
        "digits": _render_digits(digits),
        "diffusion": _render_diffusion(records),
        "labels": build_labels_block(records),
        "many_images": build_many_images_block(records),
        "small_and_tuned": build_small_and_tuned_block(records),
    }


def _render_leaderboard(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for i, row in enumerate(rows):
        mark = "**winner**" if i == 0 else "as good" if row["tied"] else row["note"]
        metrics = _format_metrics(row["scores"]) if row["scores"] else ("–",) * 3
        lines.append((row["encoder"], f"`{row['method']}`", *metrics, mark))
    header = ("encoder", "method", "accuracy, 95 % interval", "log loss", "ECE", "")
    return format_table(header, lines)


def _format_metrics(scores: dict[str, Any]) -> tuple[str, ...]:
    a = scores["accuracy"]
    return (
        f"{a['value']:.3f} [{a['low']:.3f}, {a['high']:.3f}]",
        f"{scores['log_loss']:.3f}",
        f"{scores['calibration_error']:.3f}",
    )


DIGITS_FIGURES = {
    "test_accuracy": "test accuracy of the winner",
    "sklearn_3_nearest_neighbours": "scikit-learn, 3 nearest neighbours on pixels",
    "sklearn_logistic_regression": "scikit-learn, logistic regression on pixels",
    "calibration_error": "its calibration error",
    "coverage": "coverage of its 90 % prediction sets",
    "false_alarms": "test images flagged as unknown (5 % allowed)",
    "out_of_distribution_found": "non-digit images flagged as unknown",
    "wrong_labels_in_top_5_percent": "planted wrong labels in the top 5 % of the ranking",
}


def _render_digits(record: dict[str, Any]) -> str:
    parts = record["result"]["mean and 95 % interval over seeds"]
    lines = [
        (label, *(format_interval(parts[name].get(key)) for name in parts))
        for key, label in DIGITS_FIGURES.items()
    ]
    note = (
        "scikit-learn's digits, five 70/30 splits: mean and half width of the 95 % interval "
        f"(`{record['command']}`). With faults, 2 % of the training labels are wrong but count as "
        "correct, so the true figures are slightly better than those reported."
    )
    return format_table(("", *parts), lines) + "\n\n" + note


CONTENDER_LABELS = {
    "diffusion classifier": "diffusion classifier",
    "logistic regression on diffusion features": "logistic regression on its features",
    "supervised baseline": "supervised network, same trunk",
    "logistic regression on features of random weights": "logistic regression on its features "
    "before training",
    "3 nearest neighbours on pixels": "3 nearest neighbours on pixels",
    "5 nearest neighbours on pixels": "5 nearest neighbours on pixels",
    "logistic regression on pixels": "logistic regression on pixels",
}
DIFFUSION_TABLES = {  # benchmark: data set, and the key of the figures in its result
    "diffusion_digits": ("digits", "accuracy on test, mean and 95 % interval over seeds"),
    "diffusion_fashion": ("Fashion-MNIST", ""),
    "diffusion_colour": ("CIFAR-10 as JPEG", ""),
}


def _render_diffusion(records: dict[str, dict[str, Any]]) -> str:
    """Return a table of the test accuracy of each method on each data set."""
    parts = {
        title: records[name]["result"][section] if section else records[name]["result"]
        for name, (title, section) in DIFFUSION_TABLES.items()
        if name in records
    }
    rows = [
        (label, *(_format_accuracy(part.get(key)) for part in parts.values()))
        for key, label in CONTENDER_LABELS.items()
    ]
    return format_table(("test accuracy", *parts), [row for row in rows if any(row[1:])])


def _format_accuracy(value: dict[str, float | None] | float | None) -> str:
    return f"{value:.3f}" if isinstance(value, float) else format_interval(value)


def build_benchmarks_page(records: dict[str, dict[str, Any]]) -> str:
    """Return the page of the benchmarks without comparison tables: how each ran and its figures."""
    from benchmarks.runner import read_question

    parts = [
        "# Benchmarks",
        (
            "Generated by `make docs` from the JSON files in `benchmarks/results/`; do not edit "
            "this page. Times were measured on a shared machine: compare ratios."
        ),
    ]
    for name, record in records.items():
        if record["result"].get("tables"):
            continue  # in docs/results.md
        machine = record["machine"]
        parts += [
            f"## {name}",
            read_question(name),
            f"`{record['command']}`, {record['date'][:10]}, {machine['cpu']}, {machine['cores']} "
            "cores, "
            + ", ".join(f"{key} {value}" for key, value in record["versions"].items())
            + f"; {record['seconds']:.0f} s in total.",
            *render_results({k: v for k, v in record["result"].items() if k != "plots"}),
            *(f"![{p['title']}](plots/{p['file']})" for p in record["result"].get("plots", ())),
        ]
    return "\n\n".join(parts) + "\n"
