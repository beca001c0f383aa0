"""Are accuracy and coverage right if there are several images of each patient?

Simulated clinics (`benchmarks.groups.world`) of 24 and 60 patients with 6 shots each, 10 of each
kind, through the encoder `hog`; the truth is measured on 6 shots of each of 300 new patients.
`images` is `ilk fit` as it is without groups, which looks for clusters of dependent images by
itself, and `patients` the same with the patient as group: accuracy on the leaderboard, corrected
for selection, as the report states it (with clusters held together where there are any),
and on new patients; how often the intervals contain the truth; and the coverage of the 90 % sets.
`votes per image` has the folds of `patients` but a conformal threshold in which every image has a
vote, instead of every patient.

The baseline on the same features is scikit-learn's: `StandardScaler` and `LogisticRegressionCV`,
its accuracy by `cross_val_score` with `StratifiedKFold` and with `GroupKFold` (5 folds).
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.groups.world import AGREEMENT, Clinic, draw_clinic
from benchmarks.runner import summarize
from ilk.artifacts.evaluation import evaluate_images
from ilk.core.metrics import wilson_interval
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.fitting.fit import FitConfig, fit_with_report
from ilk.images import Images, read_images
from ilk.store import Store
from ilk.trust.conformal import ConformalPredictor

PATIENTS, SHOTS, NEW_PATIENTS = (24, 60), 6, 300
SEEDS, LEVEL, FOLDS = 10, 0.9, 5
IMAGES, GROUPED = "images", "patients"
PER_IMAGE = "patients, votes per image"


def run(small: bool = False) -> dict[str, Any]:
    """Return accuracies, intervals and coverages.

    `small` has two clinics of 24 patients without a signal, and two methods.
    """
    seeds, sizes = (2, PATIENTS[:1]) if small else (SEEDS, PATIENTS)
    worlds = list(AGREEMENT)[:1] if small else list(AGREEMENT)
    methods = ("GDA", "Ridge") if small else ()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store.sqlite")
        for world in worlds:
            for n_patients in sizes:
                results = [
                    _run_one(world, n_patients, seed, store, methods) for seed in range(seeds)
                ]
                rows += [
                    {"world": world, "patients": n_patients, "folds": kind}
                    | _summarize([result[kind] for result in results])
                    for kind in results[0]
                ]
    return {
        "clinics": seeds,
        "shots per patient": SHOTS,
        "new patients": NEW_PATIENTS,
        "best accuracy on new patients": AGREEMENT,
        "coverage, target": LEVEL,
        "rows": rows,
    }


def _run_one(
    world: str, n_patients: int, seed: int, store: Store, methods: tuple[str, ...]
) -> dict[str, dict[str, float | bool]]:
    """Return the results of one clinic by the kind of folds."""
    old = draw_clinic(n_patients, SHOTS, world, seed)
    new = draw_clinic(NEW_PATIENTS, SHOTS, world, 1000 + seed)
    test = _read(new, grouped=True)
    results: dict[str, dict[str, float | bool]] = {}
    for kind in (IMAGES, GROUPED):
        images = _read(old, grouped=kind == GROUPED)
        config = FitConfig(encoders=("hog",), methods=methods, seed=seed, coverage=LEVEL)
        classifier, report = fit_with_report(images, config, store=store)
        evaluation = evaluate_images(classifier, test, store=store)[0]
        scores, corrected = report.results[0].scores, report.corrected_accuracy
        assert scores is not None
        assert corrected is not None
        truth, interval = evaluation.scores.accuracy.value, scores.accuracy
        held = report.held_together
        stated = interval if held is None else held.accuracy
        results[kind] = {
            "accuracy": interval.value,
            "accuracy, corrected": corrected.value,
            "accuracy on new patients": truth,
            "interval contains it": interval.low <= truth <= interval.high,
            "width of the interval": interval.high - interval.low,
            "accuracy that the report states": stated.value,
            "stated interval contains it": stated.low <= truth <= stated.high,
            "coverage on new patients": evaluation.coverage.value,
            "mean set size": evaluation.mean_set_size,
            "flagged as unknown": evaluation.unknown_rate.value,
        }
        if kind == GROUPED:
            summary, scored = classifier.summary_statistics, evaluation.scored
            assert summary is not None
            predictor = ConformalPredictor.fit(
                classifier.to_probabilities(summary.logits), summary.y, LEVEL, summary.unknown_score
            )
            sets = predictor.contains(scored.probabilities, scored.unknown_score)
            results[PER_IMAGE] = {
                "coverage on new patients": float(sets[np.arange(len(sets)), evaluation.y].mean()),
                "mean set size": float(sets.sum(1).mean()),
            }
    results |= _run_baseline(_read(old, grouped=True), test, old, store)
    return results


def _read(clinic: Clinic, *, grouped: bool) -> Images:
    return read_images(
        clinic.images,
        labels=clinic.labels,
        groups=clinic.patients if grouped else None,
        verify=False,
    )


def _run_baseline(
    images: Images, test: Images, old: Clinic, store: Store
) -> dict[str, dict[str, float | bool]]:
    """Return the results of scikit-learn on the same features."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    encoder = resolve_encoder("hog", images=images)
    for part in (images, test):
        encode_images(part, [encoder], store)
    x, new_x = (store.get(encoder.space, [r.digest for r in part.used]) for part in (images, test))
    y, new_y = ([row.label for row in part.used] for part in (images, test))
    groups, model = (
        [row.group for row in images.used],
        make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=10, max_iter=2000)),
    )
    assert len(groups) == len(old.patients)
    results: dict[str, dict[str, float | bool]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = float(np.mean(model.fit(x, y).predict(new_x) == np.array(new_y)))
        for name, folds in (
            ("scikit-learn, StratifiedKFold", StratifiedKFold(FOLDS, shuffle=True, random_state=0)),
            ("scikit-learn, GroupKFold", GroupKFold(FOLDS)),
        ):
            accuracy = float(np.mean(cross_val_score(model, x, y, groups=groups, cv=folds)))
            interval = wilson_interval(accuracy * len(y), len(y))
            results[name] = {
                "accuracy": accuracy,
                "accuracy on new patients": truth,
                "interval contains it": interval.low <= truth <= interval.high,
                "width of the interval": interval.high - interval.low,
            }
    return results


def _summarize(results: list[dict[str, float | bool]]) -> dict[str, Any]:
    """Return the mean over clinics of each result; rates with their 95 % interval."""
    out: dict[str, Any] = {}
    for name in results[0]:
        values = [result[name] for result in results]
        if isinstance(values[0], bool):
            rate = wilson_interval(sum(values), len(values))
            out[name] = {"rate": rate.value, "low": rate.low, "high": rate.high}
        else:
            out[name] = summarize([float(v) for v in values])
    return out
