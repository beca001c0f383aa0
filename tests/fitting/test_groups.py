"""No group is ever on two sides of a split: every model that is fitted is watched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ilk
from helpers.patients import write_patients
from ilk.artifacts.evaluation import evaluate_images
from ilk.core.data import Data
from ilk.core.registry import find_modules
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.fitting import multi_label
from ilk.fitting.detector import fit_detector
from ilk.fitting.fit import FitConfig, fit_with_report
from ilk.images import Images, read_images
from ilk.maths import folds as fold_maths
from ilk.methods import list_methods
from ilk.store import Store
from ilk.trust import out_of_distribution

CONFIG = FitConfig(encoders=("pixels",), seed=1)


class Watch:
    """Knows the group of each feature vector, and checks what is trained and scored."""

    def __init__(self) -> None:
        self.group_of: dict[bytes, int] = {}
        self.n_checked, self.n_folds = 0, 0

    def learn(self, data: Data) -> None:
        assert (data.group >= 0).all(), "features were loaded without their groups"
        for row, g in zip(np.asarray(data.x, np.float32), data.group, strict=True):
            self.group_of[row.tobytes()] = int(g)

    def find(self, x: Any) -> set[int]:
        rows = np.asarray(x, np.float32)
        return {self.group_of[r.tobytes()] for r in rows if r.tobytes() in self.group_of}

    def check(self, trained: set[int], tested: set[int]) -> None:
        assert not trained & tested, f"groups {trained & tested} are on both sides"
        self.n_checked += 1


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Watch every method, the folds of the detectors, and the folds inside methods."""
    seen = Watch()

    def wrap_fit(fit: Any) -> Any:
        def watched(method: Any, data: Data, *args: Any) -> Any:
            model, trained = fit(method, data, *args), seen.find(data.x)
            if len(trained) in (0, len(set(seen.group_of.values()))):
                return model  # of all rows

            class Watched:
                def logits(self, x: Any) -> Any:
                    seen.check(trained, seen.find(x))
                    return model.logits(x)

            return Watched()

        return watched

    for kind in list_methods().values():
        if "fit" in vars(kind):
            monkeypatch.setattr(kind, "fit", wrap_fit(vars(kind)["fit"]))

    def wrap_split(data: Data, fold: Any) -> Any:
        for is_train, rows in split_rows(data, fold):
            seen.check(seen.find(data.x[is_train]), seen.find(data.x[rows]))
            yield is_train, rows

    split_rows = out_of_distribution.split_rows
    monkeypatch.setattr(out_of_distribution, "split_rows", wrap_split)

    def wrap_assign(y: Any, n_folds: int, seed: int = 0, groups: Any = None) -> Any:
        fold = assign_folds(y, n_folds, seed, groups)
        assert groups is not None
        for g in np.unique(groups):
            assert g < 0 or len(np.unique(fold[groups == g])) == 1
        seen.n_folds += 1
        return fold

    assign_folds = fold_maths.assign_folds
    for package in ("ilk.maths", "ilk.methods", "ilk.detectors", "ilk.protocols", "ilk.fitting"):
        for module in find_modules(package).values():
            if vars(module).get("assign_folds") is assign_folds:
                monkeypatch.setattr(module, "assign_folds", wrap_assign)
    return seen


def load(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, watch: Watch) -> None:
    """Let the watch learn the features that a function of a module loads."""
    original = getattr(module, name)

    def loaded(*args: Any) -> Data:
        data: Data = original(*args)
        watch.learn(data)
        return data

    monkeypatch.setattr(module, name, loaded)


def read(folder: Path, **settings: Any) -> Images:
    return read_images(write_patients(folder, **settings), group_column="patient")


def test_fit_splits_no_group(tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    from ilk.fitting import fit as fitting

    load(monkeypatch, fitting, "load_features", watch)
    images = read(tmp_path / "d")
    classifier, report = fit_with_report(images, CONFIG, store=Store(tmp_path / "s"))
    assert watch.n_checked > 20
    assert watch.n_folds > 5
    assert classifier.conformal.n_groups == classifier.ood_detector.n_groups == 12
    assert "48 images of 12 groups; folds and intervals keep a group together" in report.notes
    assert report.group_notes
    html = classifier.side_files()["report.html"].decode() if classifier.side_files else ""
    assert "48 images of 12 groups" in html
    intake = json.loads(classifier.side_files()["intake.json"]) if classifier.side_files else {}
    assert {row.get("group") for row in intake["rows"]} == {f"p0{i:02d}" for i in range(12)}


def test_several_labels_split_no_group(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(monkeypatch, multi_label, "_load_features", watch)
    table = write_patients(tmp_path / "d", names="a;b b c;a a;c")
    images = read_images(table, group_column="patient", multi_label=True)
    classifier = ilk.fit(images, CONFIG, store=Store(tmp_path / "s"))
    assert watch.n_checked > 5
    assert classifier.ood_detector.n_groups == 12


def test_audit_splits_no_group(
    tmp_path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ilk.cli.audit import command
    from ilk.fitting import encoding

    load(monkeypatch, encoding, "load_features", watch)
    table = write_patients(tmp_path / "d", names="well ill ill")
    arguments = [table, "--encoder", "pixels", "--group-column", "patient", "--fraction", "0.1"]
    arguments += ["--out", tmp_path / "suspects.csv"]
    command.main([str(a) for a in arguments], standalone_mode=False, obj=())
    assert watch.n_checked > 10


def test_a_detector_splits_no_group(tmp_path: Path) -> None:
    store, images = Store(tmp_path / "s"), read(tmp_path / "d", n_patients=30)
    encoder = resolve_encoder("pixels", images=images)
    encode_images(images, [encoder], store)
    grouped = fit_detector(images, encoder, store, method="GaussianAnomaly()", false_alarm=0.1)
    apart = fit_detector(
        replace(images, rows=tuple(replace(r, group=None) for r in images.rows)),
        encoder,
        store,
        method="GaussianAnomaly()",
    )
    assert grouped.model.n_votes == 30
    assert apart.model.n_votes == 120
    assert np.median(apart.model.calibration_scores) < np.median(grouped.model.calibration_scores)
    new = read(tmp_path / "new", n_patients=40, seed=7)
    flagged = [r.is_anomaly for r in grouped.detect(new, store)]
    too_many = [r.is_anomaly for r in replace(apart, false_alarm=0.1).detect(new, store)]
    assert np.mean(flagged) < 0.2 < np.mean(too_many)


def test_add_holds_out_groups(tmp_path: Path) -> None:
    from ilk.cli.add import command

    store, home = Store(), tmp_path / "m"
    fit_with_report(read(tmp_path / "d"), CONFIG, store=store)[0].save(home)
    table = write_patients(tmp_path / "new", seed=3, names="odd", n_patients=6)
    arguments = [
        "add",
        home,
        table,
        "--group-column",
        "patient",
        "--out",
        tmp_path / "m2",
        "--force",
    ]
    command.main([str(a) for a in arguments[1:]], standalone_mode=False, obj=())
    extended = ilk.load(tmp_path / "m2")
    assert extended.conformal.n_groups == extended.ood_detector.n_groups == 18
    summary = extended.summary_statistics
    assert summary is not None
    assert len(np.unique(summary.groups)) == 18
    for g in np.unique(summary.groups):
        assert np.sum(summary.groups == g) == 4


def test_groups_of_test_images_are_not_added(tmp_path: Path) -> None:
    from ilk.updates.add_groups import refuse_tested_groups

    images = read(tmp_path / "d", n_patients=4)
    rows = images.rows
    tested, learned = replace(rows[0], split="test"), rows[4]
    refused, note = refuse_tested_groups(images, {tested.digest: tested, learned.digest: learned})
    assert {r.group for r in refused.refused} == {"p000"}
    assert {r.reason for r in refused.refused} == {"group in both train and test"}
    assert "p001" in note


def test_accuracy_and_sets_hold_for_new_patients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels at random: cross-validation over images recognizes the patient, over groups not."""
    from ilk.fitting import fit as fitting

    monkeypatch.setattr(fitting, "REPEAT_SECONDS", 0.0)  # as many repeats as time allows
    store, config = Store(tmp_path / "s"), replace(CONFIG, methods=("GDA", "Ridge", "KNearest"))
    coverages = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        names, new_names = (" ".join(rng.choice(["well", "ill"], n)) for n in (24, 60))
        table = write_patients(tmp_path / f"old{seed}", 24, 6, seed, names)
        new = read(
            tmp_path / f"new{seed}", n_patients=60, n_shots=3, seed=10 + seed, names=new_names
        )
        images = read_images(table, group_column="patient")
        classifier, report = fit_with_report(images, config, store=store)
        truth = evaluate_images(classifier, new, store=store)[0]
        corrected = report.corrected_accuracy  # of the best of three, at 50 % by chance
        assert corrected is not None
        assert corrected.low <= truth.scores.accuracy.value <= corrected.high
        coverages.append(truth.coverage.value)
    assert np.mean(coverages) > 0.85
    assert truth.scores.accuracy.high - truth.scores.accuracy.low > 0.2  # of 60, not of 180
    apart, report = fit_with_report(read_images(table), config, store=store)
    scores = report.results[0].scores
    assert scores is not None
    assert scores.accuracy.low > 0.9
    assert evaluate_images(apart, new, store=store)[0].coverage.value > 0.8  # clusters were found
    monkeypatch.setattr(fitting, "hold_together", lambda state, *_: state)
    apart, _ = fit_with_report(read_images(table), config, store=store)
    assert evaluate_images(apart, new, store=store)[0].coverage.value < 0.6


def test_one_group_per_class_is_measured_by_nothing(tmp_path: Path) -> None:
    images = read(tmp_path / "d", n_patients=2, n_shots=8)
    _, report = fit_with_report(images, CONFIG, store=Store(tmp_path / "s"))
    assert any("every class has a single labelled group of images" in n for n in report.notes)
    assert all(result.scores is None for result in report.results)
    few = read(tmp_path / "few", n_patients=6, n_shots=8)
    _, report = fit_with_report(few, CONFIG, store=Store(tmp_path / "s"))
    assert "no class has 5 groups of images, so there are 3 folds" in report.folds_note


def test_scikit_learn_passes_groups_on(tmp_path: Path) -> None:
    from ilk.estimator import ImageClassifier, MethodClassifier

    images = read(tmp_path / "d")
    files = [str(images.path_of(row)) for row in images.used]
    labels, groups = [r.label for r in images.used], [r.group for r in images.used]
    model = ImageClassifier(encoders=("pixels",), methods=("GDA", "Ridge"), single=True)
    model.fit(files, labels, groups=groups)
    assert model.classifier_.conformal.n_groups == 12
    assert ilk.fit(files, CONFIG, labels=labels, groups=groups).conformal.n_groups == 12
    x = np.random.default_rng(0).normal(size=(40, 3)).repeat(5, axis=0)
    x += 0.01 * np.random.default_rng(1).normal(size=x.shape)
    y = (np.random.default_rng(2).random(40) < 0.5).astype(int).repeat(5)
    plain = MethodClassifier("KNearest()").fit(x, y)
    grouped = MethodClassifier("KNearest()").fit(x, y, groups=np.arange(40).repeat(5))
    assert plain.model_.k < grouped.model_.k
    with pytest.raises(ValueError, match="groups has shape"):
        MethodClassifier().fit(x, y, groups=[1])
