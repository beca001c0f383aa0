"""Do a few rules restate a network of many features, and do probes find the features it uses?

A network of 128 hidden units learns three tables that are padded with columns of noise (half
normal, half columns of the table in another order of rows): breast cancer (30 columns and 470),
pendigits (16 and 184) and a planted table of 10 informative columns and 190, each from a third of
the rows. `explain_with_rules` with its defaults sees another third without labels (the network
knows its own by heart, so that its answers there are the labels), ranks the columns by
permutation, removal and integrated gradients, chooses k by cross-validation and gives the paths
of a tree of depth 5. Rivals: the same tree on the network's answers with all columns, k random
ones, and the k first by ANOVA F and by mutual information of the network's rows and labels, which
ask no network; and a tree on those labels. Measured on the last third: fidelity (agreement with
the network), accuracy, and the share of the first 10 columns that are real. Stability: Kuncheva's
index of the 10 first columns over 10 bootstraps of the network's rows, the network trained anew
on each. Five seeds (0 to 4): table, cut and network.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.claims import AHEAD, Claim, make_table
from benchmarks.surrogate_rules.tables_of_noise import BlackBoxNetwork, PaddedTable, read_table
from ilk.core.data import Data
from ilk.core.errors import Unavailable
from ilk.explain.feature_probes import answer_labels, average_ranks, probe_features
from ilk.explain.surrogate import RuleExplanation, explain_with_rules

TABLES = ("planted", "breast cancer", "pendigits")
STABILITY_TABLES = ("planted", "breast cancer")
SEEDS = range(5)
N_BOOTSTRAPS = 10
N_FIRST, N_SHOWN = 10, 4
ENTRY, FILE = "blackbox-high-dim-surrogate", "explain/surrogate.py"
PROBES, ALL, RANDOM = "rules on probed features", "rules on all features", "rules on random k"
ANOVA, INFORMATION = "rules on k by ANOVA F", "rules on k by mutual information"
DIRECT = "tree on the labels"


def run(small: bool = False) -> dict[str, Any]:
    """Return tables of fidelity, accuracy, columns found and stability; `small` has one table."""
    seeds = range(2) if small else SEEDS
    tables: list[dict[str, Any]] = []
    left_out: list[str] = []
    examples: dict[str, list[str]] = {}
    for name in TABLES[:1] if small else TABLES:
        try:
            results = [compare(read_table(name, seed), seed) for seed in seeds]
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
            continue
        for metric in ("fidelity", "accuracy"):
            scores = {arm: [r[metric][arm] for r in results] for arm in results[0][metric]}
            rivals = [a for a in scores if a != PROBES]
            claims = [Claim(ENTRY, FILE, PROBES, rival) for rival in rivals]
            what = "agreement with the network" if metric == "fidelity" else "accuracy"
            tables.append(make_table(name, f"test {what}", scores, claims))
        found = {arm: [r["found"][arm] for r in results] for arm in results[0]["found"]}
        rivals = [a for a in found if a != PROBES]
        claims = [Claim(ENTRY, FILE, PROBES, rival) for rival in rivals]
        tables.append(make_table(name, "share of the first columns that are real", found, claims))
        examples[name] = results[0]["rules"]
        if name in STABILITY_TABLES:
            n_bootstraps = 2 if small else N_BOOTSTRAPS
            drawn = [measure_stability(read_table(name, s), s, n_bootstraps) for s in seeds]
            stable = {arm: [d[arm] for d in drawn] for arm in drawn[0]}
            claims = [Claim(ENTRY, FILE, PROBES, rival) for rival in stable if rival != PROBES]
            tables.append(make_table(name, "Kuncheva's index over bootstraps", stable, claims))
    return {
        "tables": tables,
        "verdict": judge(tables),
        "rules with most rows, seed 0": examples,
        "left out": left_out,
    }


def compare(table: PaddedTable, seed: int) -> dict[str, Any]:
    """Return fidelity, accuracy and found columns of all arms, and the rules as text."""
    train, x, test = table.train, table.other.x, table.test
    box = BlackBoxNetwork.fit(train, seed)
    told = explain_with_rules(box, x, seed=seed)
    k, d = len(told.selected), x.shape[1]
    rankings = {name: rank(train, seed) for name, rank in RANKINGS.items()}
    arms: dict[str, RuleExplanation] = {
        PROBES: told,
        **{
            name: explain_with_rules(box, x, selected=order[:k].tolist(), seed=seed)
            for name, order in rankings.items()
        },
        ALL: explain_with_rules(box, x, selected=range(d), seed=seed),
    }
    fidelity = {name: arm.measure_fidelity(box, test.x) for name, arm in arms.items()}
    accuracy = {name: float(np.mean(arm.predict(test.x) == test.y)) for name, arm in arms.items()}
    direct = explain_with_rules(lambda x: _look_up(train, x), train.x, selected=range(d), seed=seed)
    labels = answer_labels(box, test.x)
    answers = direct.predict(test.x)
    fidelity[DIRECT] = float(np.mean(answers == labels))
    accuracy[DIRECT] = float(np.mean(answers == test.y))
    accuracy["the network"] = float(np.mean(labels == test.y))
    rankings[PROBES] = np.argsort(-told.importance, kind="stable")
    found = {name: float(table.is_real[order[:N_FIRST]].mean()) for name, order in rankings.items()}
    return {"fidelity": fidelity, "accuracy": accuracy, "found": found, "rules": _show_first(told)}


def _show_first(told: RuleExplanation) -> list[str]:
    """Return the rules that apply to most rows."""
    return [rule.describe(told.names) for rule in told.rules[:N_SHOWN]]


def _look_up(data: Data, x: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the given labels as if they were the answers of a box, for the training rows."""
    assert len(x) == len(data), "only the training rows have labels"
    return data.y


def _rank_anova(data: Data, seed: int) -> NDArray[np.int64]:
    from sklearn.feature_selection import f_classif

    return np.argsort(-f_classif(data.x, data.y)[0], kind="stable")


def _rank_information(data: Data, seed: int) -> NDArray[np.int64]:
    from sklearn.feature_selection import mutual_info_classif

    return np.argsort(-mutual_info_classif(data.x, data.y, random_state=seed), kind="stable")


def _rank_random(data: Data, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed + 1000).permutation(data.x.shape[1])


RANKINGS: dict[str, Callable[[Data, int], NDArray[np.int64]]] = {
    ANOVA: _rank_anova,
    INFORMATION: _rank_information,
    RANDOM: _rank_random,
}


def measure_stability(table: PaddedTable, seed: int, n_bootstraps: int) -> dict[str, float]:
    """Return Kuncheva's index of the first columns over bootstraps of the network's rows."""
    rng = np.random.default_rng(seed)
    data, d = table.train, table.train.x.shape[1]
    chosen: dict[str, list[set[int]]] = {PROBES: [], ANOVA: []}
    for b in range(n_bootstraps):
        part = data.take(rng.integers(0, len(data), len(data)))
        box = BlackBoxNetwork.fit(part, seed * 100 + b)
        ranks = average_ranks(probe_features(box, table.other.x, seed))
        orders = {
            PROBES: np.argsort(-ranks, kind="stable"),
            ANOVA: _rank_anova(part, seed),
        }
        for name, order in orders.items():
            chosen[name].append(set(order[:N_FIRST].tolist()))
    return {name: compute_kuncheva_index(sets, d) for name, sets in chosen.items()}


def compute_kuncheva_index(sets: list[set[int]], d: int) -> float:
    """Return the mean of `(r - k^2 / d) / (k - k^2 / d)` over pairs of sets.

    Sets have k of d members, r in common: 1 for equal sets, 0 for random ones (Ludmila I. Kuncheva,
    2007, A Stability Index for Feature Selection).
    """
    values = []
    for a, b in combinations(sets, 2):
        chance = len(a) ** 2 / d
        values.append((len(a & b) - chance) / (len(a) - chance))
    return float(np.mean(values))


def judge(tables: list[dict[str, Any]]) -> list[str]:
    """Return one sentence per table: which rivals the probes are ahead of, and which not."""
    sentences = []
    for table in tables:
        ahead = [c["baseline"] for c in table["claims"] if c["verdict"] == AHEAD]
        others = [f"{c['baseline']} ({c['verdict']})" for c in table["claims"]]
        not_ahead = [
            o for o, c in zip(others, table["claims"], strict=True) if c["verdict"] != AHEAD
        ]
        sentences.append(
            f"{table['setting']}, {table['metric']}: probes are ahead of "
            f"{', '.join(ahead) or 'none'}; not ahead of {', '.join(not_ahead) or 'none'}"
        )
    return sentences
