"""Are the images that `ilk select` keeps worth more than as many random ones?

Features of CIFAR-10 (MobileNetV2) and of MNIST (pixels): a tenth and three tenths of the images are
kept by the default, which chooses a rule on images left out or stays with random ones, by every
rule on its own, and at random; a softmax regression on what was kept is measured on test images.
With a target: MNIST and a few USPS digits, to classify USPS digits. The command itself: a folder of
photographs in which some classes are rare and some pictures are there twice in another form.
"""

from __future__ import annotations

from typing import Any

from benchmarks.claims import Claim, make_table
from benchmarks.runner import summarize
from benchmarks.select import features as f
from benchmarks.select import folders

SEEDS = 5
KEEP = (0.1, 0.3)
TARGET_KEEP = 0.15
SETS = ("CIFAR-10", "MNIST")
FILES = {
    "ColorFilter": ("color-filter", "subset_selection/selectors/color_filter.py"),
    "SourcePruning": ("dp4tl-source-pruning", "subset_selection/selectors/source_pruning.py"),
}


def run(small: bool = False) -> dict[str, Any]:
    """Run the benchmark; `small` takes seconds."""
    seeds = range(2 if small else SEEDS)
    tables, gains, statements = [], {}, {}
    for name in SETS[1 if small else 0 :]:
        for keep in KEEP[1 if small else 0 :]:
            runs = [f.compare_rules(*f.read_set(name, seed, small), keep, seed) for seed in seeds]
            setting = f"{name}, {keep:.0%} of the images".replace("%", " %")
            tables.append(make_table(setting, "test accuracy", _collect(runs), ()))
            gains[setting] = _compare(runs, f.AUTO, f.RANDOM)
            statements[setting] = f.summarize_statements(runs)
    runs = [f.compare_for_target(seed, TARGET_KEEP, small) for seed in seeds]
    setting = f"MNIST and USPS for USPS, {TARGET_KEEP:.0%} of the images".replace("%", " %")
    claims = [
        Claim(*FILES[method], method, baseline)
        for method in FILES
        for baseline in ("TargetDiscriminator", "NearestTarget", f.RANDOM)
    ]
    tables.append(make_table(setting, "test accuracy", _collect(runs), claims))
    gains[setting] = _compare(runs, f.AUTO, f.RANDOM)
    statements[setting] = f.summarize_statements(runs)
    runs = [folders.run_seed(seed, small) for seed in seeds]
    setting = "CIFAR-10 files, rare classes, copies"
    tables.append(make_table(setting, "test accuracy", _collect(runs), ()))
    gains[setting] = _compare(runs, folders.AUTO, folders.RANDOM)
    gains[f"{setting}, balanced"] = _compare(runs, folders.AUTO, folders.BALANCED)
    return {
        "tables": tables,
        "gain_over_random": gains,
        "statements": statements,
        "folders": {
            key: summarize([run[key] for run in runs]) for key in runs[0] if key != "accuracy"
        },
        "seeds": len(seeds),
    }


def _collect(runs: list[dict[str, Any]]) -> dict[str, list[float]]:
    return {name: [run["accuracy"][name] for run in runs] for name in runs[0]["accuracy"]}


def _compare(runs: list[dict[str, Any]], first: str, second: str) -> dict[str, Any]:
    """Return the paired difference of two arms, with its interval."""
    return summarize([run["accuracy"][first] - run["accuracy"][second] for run in runs])
