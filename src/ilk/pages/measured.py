"""Figures for the pages, taken from the JSON files that `ilk bench` wrote; none is ever typed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ilk.pages.markdown import results_text, spread_text, table_text
from ilk.pages.overview import labels_block


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Every full result of `folder`, by the name of its benchmark."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}
    return {name: told for name, told in sorted(found.items()) if not told["small"]}


def filled(page: str, blocks: dict[str, str]) -> str:
    """`page` with what stands between `<!-- name -->` and `<!-- /name -->` made anew."""
    for name, block in blocks.items():
        between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
        place = between.search(page)
        if place is None:
            raise ValueError(f"the page has no place for {name}")
        page = f"{page[: place.end(1)]}{block}\n{page[place.start(2) :]}"
    return page


def readme_blocks(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """What the README shows of the digits benchmark: its leaderboard and its figures."""
    digits = found["digits"]
    demo = next(row for row in digits["result"]["rows"] if row["trouble"] and row["seed"] == 0)
    return {
        "leaderboard": _leaderboard(demo["leaderboard"]),
        "digits": _digits(digits),
        "diffusion": _diffusion(found),
        "labels": labels_block(found),
    }


def _leaderboard(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for i, row in enumerate(rows):
        s = row["scores"]
        mark = "**winner**" if i == 0 else "as good" if row["tied"] else ""
        a = s["accuracy"]
        lines.append(
            (
                row["encoder"],
                f"`{row['method']}`",
                f"{a['value']:.3f} [{a['low']:.3f}, {a['high']:.3f}]",
                f"{s['log_loss']:.3f}",
                f"{s['calibration_error']:.3f}",
                mark,
            )
        )
    head = ("encoder", "method", "accuracy, 95 % interval", "log loss", "ECE", "")
    return table_text(head, lines)


SHOWN = {
    "test_accuracy": "test accuracy of the winner",
    "sklearn_3_nearest_neighbours": "scikit-learn, 3 nearest neighbours on pixels",
    "sklearn_logistic_regression": "scikit-learn, logistic regression on pixels",
    "calibration_error": "calibration error of the winner",
    "coverage": "coverage of its 90 % sets",
    "false_alarms": "test images called unknown (5 % allowed)",
    "strangers_found": "pictures that are no digits called unknown",
    "wrong_labels_in_top_5_percent": "planted wrong labels in the first 5 % of the suspects",
}


def _digits(told: dict[str, Any]) -> str:
    parts = told["result"]["mean and 95 % interval over seeds"]
    lines = [
        (label, *(spread_text(parts[name].get(key)) for name in parts))
        for key, label in SHOWN.items()
    ]
    note = (
        "scikit-learn's digits, five 70/30 splits: mean and half width of the 95 % interval "
        f"(`{told['command']}`). With trouble, 2 % of the training labels are wrong and count as "
        "right, so the truth is a little better than what is claimed."
    )
    return table_text(("", *parts), lines) + "\n\n" + note


CONTENDERS = {
    "diffusion classifier": "diffusion classifier",
    "logistic regression on diffusion features": "logistic regression on its features",
    "supervised twin": "supervised network, same trunk",
    "logistic regression on features of random weights": "logistic regression on its features "
    "before training",
    "3 nearest neighbours on pixels": "3 nearest neighbours on pixels",
    "5 nearest neighbours on pixels": "5 nearest neighbours on pixels",
    "logistic regression on pixels": "logistic regression on pixels",
}
TABLES = {  # benchmark: data set, and where in its result the figures stand
    "diffusion_digits": ("digits", "accuracy on test, mean and 95 % interval over seeds"),
    "diffusion_fashion": ("Fashion-MNIST", ""),
    "diffusion_colour": ("CIFAR-10 as JPEG", ""),
}


def _diffusion(found: dict[str, dict[str, Any]]) -> str:
    """Test accuracy of each contender on each data set that was measured."""
    parts = {
        title: found[name]["result"][at] if at else found[name]["result"]
        for name, (title, at) in TABLES.items()
        if name in found
    }
    rows = [
        (label, *(_accuracy(part.get(key)) for part in parts.values()))
        for key, label in CONTENDERS.items()
    ]
    return table_text(("test accuracy", *parts), [row for row in rows if any(row[1:])])


def _accuracy(value: dict[str, float | None] | float | None) -> str:
    return f"{value:.3f}" if isinstance(value, float) else spread_text(value)


def benchmarks_page(found: dict[str, dict[str, Any]]) -> str:
    """Every benchmark of one question: how it was run, and its figures."""
    from ilk.bench import question

    parts = [
        "# Benchmarks",
        (
            "Made by `make docs` from the JSON files in `bench/`; change those, not this. "
            "Seconds and rates are of a shared machine: compare ratios."
        ),
    ]
    for name, told in found.items():
        if told["result"].get("tables"):
            continue  # a family: docs/results.md
        machine = told["machine"]
        parts += [
            f"## {name}",
            question(name),
            f"`{told['command']}`, {told['date'][:10]}, {machine['cpu']}, {machine['cores']} "
            "cores, "
            + ", ".join(f"{key} {value}" for key, value in told["versions"].items())
            + f"; {told['seconds']:.0f} s in all.",
            *results_text({k: v for k, v in told["result"].items() if k != "plots"}),
            *(f"![{p['title']}](plots/{p['file']})" for p in told["result"].get("plots", ())),
        ]
    return "\n\n".join(parts) + "\n"
