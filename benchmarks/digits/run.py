"""Digits, end to end: are the winner's accuracy, calibration and coverage as reported?

scikit-learn's 1,797 digits, split 70/30 with seeds 0 to 4, once clean and once with the planted
faults of the demo (among them 2 % wrong training labels). The winner is compared with
scikit-learn's logistic regression and 3 nearest neighbours on the same raw pixels. Nothing is
chosen on the test part.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runner import summarize
from ilk.demo import PlantedFaults, make_demo
from ilk.fitting.fit import FitConfig, fit_with_report
from ilk.images import Images, read_images
from ilk.report import ReportData, leaderboard_to_json
from ilk.store import Store

SEEDS = (0, 1, 2, 3, 4)
TOP_FRACTION = 0.05  # of the ranking of label errors


def run(small: bool = False) -> dict[str, Any]:
    """Return accuracy, calibration, coverage and detection rates; `small`: one seed, two heads."""
    config = FitConfig()  # the defaults of this machine, as a user calls it
    if small:
        config = FitConfig(encoders=("pixels",), methods=("GDA", "NearestClassMean"))
    rows = [
        evaluate_seed(seed, faults, config)
        for faults in (False, True)
        for seed in SEEDS[: 1 if small else None]
    ]
    summary = {
        name: _summarize_rows([row for row in rows if row["faults"] is faults])
        for name, faults in (("clean", False), ("with faults", True))
    }
    return {"rows": rows, "mean and 95 % interval over seeds": summary}


def _summarize_rows(rows: list[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    figures = [key for key, value in rows[0].items() if isinstance(value, float)]
    return {key: summarize([row[key] for row in rows]) for key in figures}


def evaluate_seed(seed: int, faults: bool, config: FitConfig) -> dict[str, Any]:
    """Evaluate one split from files to figures."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        demo = make_demo(home / "demo", seed, faults=faults)
        store = Store(home / "store.sqlite")
        try:
            images = read_images(home / "demo" / "digits", verify=False, store=store)
            classifier, report_data = fit_with_report(images, config, store=store)
            unknown_files = sorted((home / "demo" / "not-digits").iterdir())
            predictions = classifier.predict(unknown_files, store=store)
        finally:
            store.close()
        evaluation = classifier.metadata["metrics"]["evaluation"]
        return {
            "seed": seed,
            "faults": faults,
            "winner": f"{report_data.method} on {report_data.encoder}",
            "test_accuracy": evaluation["accuracy"]["value"],
            "test_interval": [evaluation["accuracy"]["low"], evaluation["accuracy"]["high"]],
            "calibration_error": evaluation["calibration_error"],
            "log_loss": evaluation["log_loss"],
            "coverage": evaluation["coverage"]["value"],
            "target_coverage": evaluation["coverage"]["target"],
            "set_size": evaluation["mean_set_size"],
            "false_alarms": evaluation["unknown_rate"]["value"],
            "out_of_distribution_found": float(np.mean([row.is_unknown for row in predictions])),
            "leaderboard": leaderboard_to_json(report_data)["rows"],
            **_score_baselines(report_data.images),
            **_score_suspects(report_data, demo),
        }


def _score_suspects(report_data: ReportData, demo: PlantedFaults) -> dict[str, float]:
    """Return the fraction of planted wrong labels in the top 5 % of the ranking."""
    if not demo.mislabelled:
        return {}
    ranked = [path.as_posix() for path, *_ in report_data.ranked_labels]
    top = ranked[: int(TOP_FRACTION * len(ranked))]
    hits = sum(any(path.endswith(wrong) for path in top) for wrong in demo.mislabelled)
    flagged = [path.as_posix() for path, *_ in report_data.label_errors]
    n_correct = sum(any(path.endswith(wrong) for wrong in demo.mislabelled) for path in flagged)
    return {
        "wrong_labels_in_top_5_percent": hits / len(demo.mislabelled),
        "precision_of_suspects": n_correct / max(1, len(flagged)),
    }


def _score_baselines(images: Images) -> dict[str, float]:
    """Score scikit-learn models on the raw pixels of the same files."""
    from PIL import Image
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    def load_split(split: str) -> tuple[Any, Any]:
        rows = images.select_split(split).used
        pixels = [np.asarray(Image.open(images.path_of(r)), np.float64).ravel() / 255 for r in rows]
        return np.stack(pixels), np.array([r.label for r in rows])

    (x, y), (x_test, y_test) = load_split("train"), load_split("test")
    models = {
        "sklearn_logistic_regression": LogisticRegression(max_iter=5000),
        "sklearn_3_nearest_neighbours": KNeighborsClassifier(3),
    }
    return {name: float(m.fit(x, y).score(x_test, y_test)) for name, m in models.items()}
