"""Ensembles: where none earns its place, where one does, and what is left without an encoder."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ilk
from ilk import cli
from ilk.artifacts.model_folder import compute_digest
from ilk.core.errors import InputError, Unavailable
from ilk.fitting.fit import FitConfig, fit_with_report
from ilk.store import Store

COLORS = {"red": (170, 110, 110), "blue": (110, 110, 170)}
ENCODERS = ("pixels/1x1x3", "hog/32")
CONFIG = FitConfig(encoders=ENCODERS, methods=("GDA", "NearestClassMean"))


def draw(color: tuple[int, int, int], vertical: bool, rng: np.random.Generator) -> Image.Image:
    """Return stripes whose direction `pixels/1x1x3` cannot see and whose color `hog` cannot."""
    wave = 40 * np.sin(np.arange(32) * 0.8 + rng.uniform(0, 6))
    stripes = np.broadcast_to(wave if vertical else wave[:, None], (32, 32))
    shade = np.array(color) + rng.normal(0, 25, 3)
    pixels = shade + stripes[..., None] + rng.normal(0, 70, (32, 32, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_stripes(home: Path, per_class: int = 40, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for name, color in COLORS.items():
        for direction in ("across", "down"):
            (home / f"{name} {direction}").mkdir(parents=True)
            for i in range(per_class):
                image = draw(color, direction == "down", rng)
                image.save(home / f"{name} {direction}" / f"{i:03d}.png")
    return home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stripes(tmp_path_factory.mktemp("stripes") / "train")


@pytest.fixture(scope="module")
def fitted(home: Path):
    lines: list[str] = []
    classifier, report = fit_with_report(ilk.read(home), CONFIG, log=lines.append)
    return classifier, report, lines


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stripes(tmp_path_factory.mktemp("fresh") / "test", 30, seed=1)


@pytest.fixture
def saved(fitted, tmp_path: Path) -> Path:
    return fitted[0].save(tmp_path / "kinds")


def measure_accuracy(classifier: ilk.Classifier, folder: Path) -> float:
    files = sorted(folder.rglob("*.png"))
    rows = classifier.predict([str(f) for f in files])
    return float(np.mean([r.name == f.parent.name for r, f in zip(rows, files, strict=True)]))


def test_what_no_encoder_sees_alone_is_seen_by_both(fitted, home: Path, fresh: Path) -> None:
    classifier, report, lines = fitted
    assert classifier.encoder.name in (" + ".join(ENCODERS), " + ".join(ENCODERS[::-1]))
    single = ilk.fit(ilk.read(home), replace(CONFIG, single=True))
    assert single.encoder.name in ENCODERS
    assert measure_accuracy(single, fresh) < 0.62
    measured = measure_accuracy(classifier, fresh)
    assert measured > 0.7
    low, high = report.corrected_accuracy.low, report.corrected_accuracy.high
    assert low - 0.08 < measured < high + 0.08
    entry = classifier.metadata["ensemble"]
    assert entry["accuracy_gain"]["low"] > 0.05
    assert abs(sum(member["weight"] for member in entry["members"]) - 1) < 1e-3
    assert any("accuracy" in note and "is used: against" in note for note in report.notes)
    assert not set(lines) & set(report.notes)  # a note is printed once
    winner = report.results[0]
    assert (winner.encoder, winner.method) == (report.encoder, report.method)


def test_the_features_of_a_combination_are_stored_once_under_its_parts(fitted, home) -> None:
    classifier = fitted[0]
    store, digests = Store(), [row.digest for row in ilk.read(home).used]
    x = store.get(classifier.encoder.space, digests)
    parts = [store.get(part.space, digests) for part in classifier.encoder.parts]
    np.testing.assert_array_equal(x, np.hstack(parts))
    assert classifier.encoder.space.key not in {space.key for space, _ in store.list_spaces()}
    image = Image.open(ilk.read(home).path_of(ilk.read(home).used[0]))
    batch = classifier.encoder.prepare(image.convert("RGB"))[None]
    np.testing.assert_allclose(classifier.encoder.embed(batch)[0], x[0], rtol=1e-5, atol=1e-6)


def test_a_saved_ensemble_gives_the_same_predictions(fitted, saved: Path, fresh: Path) -> None:
    files = [str(f) for f in sorted(fresh.rglob("*.png"))[::4]]
    assert ilk.load(saved).predict(files) == fitted[0].predict(files)


def test_probabilities_and_sets_of_fresh_images_hold(fitted, fresh: Path) -> None:
    classifier = fitted[0]
    files = sorted(fresh.rglob("*.png"))
    rows = classifier.predict([str(f) for f in files])
    covered = [f.parent.name in row.prediction_set for row, f in zip(rows, files, strict=True)]
    assert np.mean(covered) > 0.82  # of 120; the target is 0.9
    gap = np.mean([r.probability for r in rows]) - measure_accuracy(classifier, fresh)
    assert abs(gap) < 0.1


def hide_encoder(saved: Path, name: str) -> None:
    """Record another version of an encoder, as if this machine had none like it."""
    path = saved / "model.json"
    description = json.loads(path.read_text())
    for part in description["encoder"]["parts"]:
        if part["name"] == name:
            part["key"] = "0" * 64
    description["digest"] = compute_digest(description)
    path.write_text(json.dumps(description))


@pytest.mark.parametrize("name", ENCODERS)
def test_without_an_encoder_the_rest_is_worth_what_is_said(saved, fresh, name: str) -> None:
    hide_encoder(saved, name)
    with pytest.raises(Unavailable) as caught:
        ilk.load(saved)
    message = str(caught.value)
    assert message.startswith(name)
    record = json.loads((saved / "model.json").read_text())["ensemble"]["without"][name]
    accuracy = record["accuracy"]
    assert f"an accuracy of {accuracy['value']:.3f}" in message
    assert f"--without '{name}'" in message
    one = str(next(fresh.rglob("*.png")))
    assert cli.run(["predict", str(saved), one]) == 3
    assert cli.run(["predict", str(saved), one, "--without", name]) == 0
    rest = ilk.load(saved, without=[name])
    assert name not in rest.encoder.name
    assert asdict(rest.calibration) == record["calibration"]
    assert asdict(rest.conformal) == record["conformal"]
    assert rest.summary_statistics is None
    measured = measure_accuracy(rest, fresh)
    assert accuracy["low"] - 0.1 < measured < accuracy["high"] + 0.1


def test_what_cannot_be_left_out_is_said(saved: Path, fitted, home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not use the encoder 'timm/x'; its encoders are"):
        ilk.load(saved, without=["timm/x"])
    with pytest.raises(InputError, match="only one encoder of an ensemble can be left out"):
        ilk.load(saved, without=ENCODERS)
    single = ilk.fit(ilk.read(home), replace(CONFIG, single=True)).save(tmp_path / "single")
    name = ilk.load(single).encoder.name
    with pytest.raises(InputError, match="only one encoder of an ensemble"):
        ilk.load(single, without=[name])


def test_a_class_can_be_added_to_an_ensemble(saved: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    green = tmp_path / "green"
    green.mkdir()
    for i in range(40):
        draw((60, 190, 60), bool(i % 2), rng).save(green / f"{i}.png")
    out = str(tmp_path / "more")
    assert cli.run(["add", str(saved), "--class-images", "green", str(green), "--out", out]) == 0
    more = ilk.load(tmp_path / "more")
    assert "green" in more.classes
    rows = more.predict([str(f) for f in sorted(green.glob("*.png"))])
    assert np.mean([row.name == "green" for row in rows]) > 0.9
    with pytest.raises(InputError, match="classes were added to this ensemble"):
        ilk.load(tmp_path / "more", without=["hog/32"])


@pytest.mark.parametrize("command", ["evaluate", "adapt", "discover"])
def test_other_commands_take_an_ensemble(command: str, saved, fresh, tmp_path: Path) -> None:
    out = [] if command == "evaluate" else ["--out", str(tmp_path / "out")]
    assert cli.run([command, str(saved), str(fresh), *out]) == 0


def test_unknown_images_are_told_by_the_encoder_of_the_best_single_candidate(fitted) -> None:
    classifier = fitted[0]
    detector, first = classifier.ood_detector, classifier.encoder.parts[0]
    rows = fitted[1].images.used
    x = Store().get(classifier.encoder.space, [row.digest for row in rows])
    assert len(detector.centre) == first.space.dim
    changed = x.copy()
    changed[:, first.space.dim :] = 7.0  # the other encoder
    np.testing.assert_array_equal(detector.score(changed), detector.score(x))
    changed[:, : first.space.dim] += 3.0
    assert (detector.score(changed) > detector.score(x)).mean() > 0.9
    moved = detector.with_mean(changed[0], 0)
    assert moved.score(changed[:1])[0] < 0.05 < detector.score(changed[:1])[0]
    blind = type(detector).make_blind(detector)
    assert not blind.flag(x).any()
    assert "nothing is ever flagged" in blind.note


def test_an_encoder_that_adds_nothing_is_not_used(home: Path, tmp_path: Path) -> None:
    """Color alone decides: stripes are noise."""
    folder = tmp_path / "colors"
    for name in COLORS:
        for direction in ("across", "down"):
            shutil.copytree(home / f"{name} {direction}", folder / name / direction)
    classifier, report = fit_with_report(ilk.read(folder), replace(CONFIG, methods=("GDA",)))
    assert classifier.encoder.name == ENCODERS[0]
    assert classifier.metadata["ensemble"] is None
    assert not any("is used: against" in note for note in report.notes)


def test_an_ensemble_is_pickled_and_shown(fitted, fresh: Path) -> None:
    files = [str(f) for f in sorted(fresh.rglob("*.png"))[::20]]
    again = pickle.loads(pickle.dumps(fitted[0]))
    assert again.encoder.name == fitted[0].encoder.name
    assert again.predict(files) == fitted[0].predict(files)
    assert fitted[0].encoder.name in repr(fitted[0])
    assert "side by side" in fitted[0]._repr_html_()
    with Image.open(files[0]) as image:
        one = fitted[0].predict(image)
    assert one.name == fitted[0].predict(files[:1])[0].name
