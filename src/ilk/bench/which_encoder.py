"""Can a score tell which encoder will serve best, without fitting a classifier?

The catalogue's row tmi-intraclass-variance. Sixteen encoders of 28 x 28 grey pictures (pixels at
three sizes, HOG at two, principal axes of MNIST, two networks with random weights, and eight small
networks taught all or some classes of MNIST, Fashion-MNIST or notMNIST, for long or for a moment)
meet five targets: MNIST, USPS, MNIST-M, notMNIST and Fashion-MNIST, always rows that no network was
taught with. Ten cuts of one MobileNetV2 (principal axes, columns drawn) meet CIFAR-10 beside them:
there the number of features is nearly all that differs.

What is to be told: the test accuracy of logistic regression on the frozen features (600 labelled
rows, 1,000 test rows, drawn anew by each of five seeds), and, for the networks alone, of the whole
network fine-tuned on the same rows (one recipe, fixed beforehand; not tuned for each, which would
cost more than all the rest). The scores see the 600 rows. A table holds Kendall's tau with that
accuracy, a figure a seed; its interval is over seeds, so over draws of rows. How far other encoders
would give the same is in `bootstrap`: tau over encoders drawn with replacement. "feature dimension"
and "parameters" are predictors that look at no picture; a score that is not ahead of them knows
nothing of use. TMI stands there as in the authors' code (distances raised to 1), without that
floor, and in 32 principal axes of one scale. No figure chose a setting.
"""

from __future__ import annotations

from typing import Any

from ilk.bench import _sets
from ilk.bench._agreement import bootstrap, figures, listing, only, tabled, times
from ilk.bench._encoder_zoo import cuts, encoders, targets, three
from ilk.errors import Unavailable

SEEDS = 5


def run(small: bool = False) -> dict[str, Any]:
    """Every table; `small` takes digits as pixels, three encoders and two seeds."""
    if small:
        return _small()
    told: dict[str, Any] = {"tables": [], "left out": []}
    for study in (_grey, _photographs):
        try:
            found = study()
        except Unavailable as missing:
            told["left out"].append(str(missing))
            continue
        told["tables"] += found.pop("tables")
        told |= found
    return told


def _grey() -> dict[str, Any]:
    """The sixteen on five targets; the networks among them once more, frozen and fine-tuned."""
    kinds = encoders()
    nets = [i for i, e in enumerate(kinds) if e.network is not None]
    found = {
        name: [figures(kinds, data, seed) for seed in range(SEEDS)]
        for name, data in targets().items()
    }
    tables, draws = [], {}
    for name, by_seed in found.items():
        tables.append(tabled(f"{name}, 16 encoders", {name: by_seed}, "frozen", False))
    for truth, which, where in (
        ("frozen", list(range(len(kinds))), "mean over five targets, 16 encoders, frozen"),
        ("frozen", nets, "mean over five targets, the ten networks, frozen"),
        ("fine-tuned", nets, "mean over five targets, the ten networks, fine-tuned"),
    ):
        cut = {n: [only(one, which) for one in by] for n, by in found.items()}
        tables.append(tabled(where, cut, truth))
        draws[where] = bootstrap(cut, truth)
    tables.append(times(found))
    return {"tables": tables, "bootstrap": draws, "encoders": listing(kinds, found)}


def _photographs() -> dict[str, Any]:
    """Ten cuts of one network's features on CIFAR-10."""
    kinds, test = cuts(), _sets.cifar("test")
    found = {"CIFAR-10": [figures(kinds, test, seed) for seed in range(SEEDS)]}
    where = "CIFAR-10, ten cuts of one network"
    return {
        "tables": [tabled(where, found, "frozen")],
        "bootstrap, cuts of one network": bootstrap(found, "frozen"),
        "cuts": listing(kinds, found),
    }


def _small() -> dict[str, Any]:
    """Three encoders of scikit-learn's digits, two seeds."""
    kinds = three()
    found = {"digits": [figures(kinds, _sets.digits(), seed) for seed in range(2)]}
    return {
        "tables": [tabled("digits, three encoders", found, "frozen"), times(found)],
        "bootstrap": bootstrap(found, "frozen"),
        "encoders": listing(kinds, found),
    }
