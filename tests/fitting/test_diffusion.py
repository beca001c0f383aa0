"""A diffusion model on the leaderboard: pretrained on a folder, fitted, saved, asked again."""

from __future__ import annotations

import hashlib
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from ilk.artifacts.load_classifier import load
from ilk.cli import run
from ilk.core.capabilities import Explains, ScoresClasses
from ilk.core.errors import ArtifactError, InputError, Unavailable
from ilk.diffusion.checkpoint import checkpoint
from ilk.diffusion.checkpoint import training_images as seen
from ilk.diffusion.classification import calibration_errors as trial
from ilk.diffusion.classification.context import ClassificationContext
from ilk.diffusion.pretraining import cross_fitting as crossed
from ilk.diffusion.pretraining.pretrain import PretrainConfig as Pretraining
from ilk.encoders import resolve_encoder, restore_encoder
from ilk.encoders.classifier_config import ClassifierConfig, split_name
from ilk.encoders.diffusion_classifier import DiffusionClassifier
from ilk.fitting.fit import FitConfig, fit, fit_with_report
from ilk.images import read_images
from ilk.store import Store
from ilk.training.trainer import Batch, Recipe

DIGITS = load_digits()
X = np.round(DIGITS.images * (255 / 16)).astype(np.uint8)
TINY = {"width": 8, "levels": [1]}


def material(n=240, classes=3):
    at = np.flatnonzero(DIGITS.target < classes)[:n]
    data = Batch(torch.from_numpy(X[at][:, None]), torch.from_numpy(DIGITS.target[at]))
    digests = [hashlib.sha256(X[i].tobytes()).hexdigest() for i in at]
    return crossed.PretrainingData(data, digests, tuple(map(str, range(classes))))


def plan(steps=60):
    return Pretraining(Recipe(steps, 32, 4e-3, warmup=5), options=TINY)


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A model of three digits, with networks that each left a part out."""
    home = tmp_path_factory.mktemp("diffusion") / "model"
    crossed.pretrain_cross_fit(material(), plan(), home, folds=2)
    return home


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The same three digits as files: 150 to learn from, 60 to be tested on."""
    home = tmp_path_factory.mktemp("files") / "digits"
    for i, at in enumerate(np.flatnonzero(DIGITS.target < 3)[:210]):
        place = home / ("train" if i < 150 else "test") / str(DIGITS.target[at])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(X[at]).save(place / f"{at}.png")
    return home


@pytest.fixture
def store(tmp_path):
    held = Store(tmp_path / "store.sqlite")
    yield held
    held.close()


def scores(model, settings="", classes=None):
    found = resolve_encoder(
        f"diffusion-classifier:{model}{settings}", context=ClassificationContext(classes)
    )
    assert isinstance(found, DiffusionClassifier)
    return found


def batch(n=20, start=0):
    at = np.flatnonzero(DIGITS.target < 3)[start : start + n]
    return X[at][:, None], DIGITS.target[at]


def test_it_tells_digits_apart_that_it_never_saw(model):
    x, y = batch(150, 300)
    found = scores(model, "@strategy=naive,levels=16").embed(x)
    assert found.shape == (150, 3)
    assert np.mean(found.argmax(1) == y) > 0.85


def test_each_seen_image_is_judged_by_the_network_that_left_it_out(model, tmp_path):
    x, _ = batch(40)
    encoder = scores(model, "@strategy=naive,levels=4")
    part = seen.assign_folds(seen.hash_images(x), 2)
    whole = encoder.embed(x)
    for p in (0, 1):
        alone = tmp_path / str(p)
        alone.mkdir()
        for name in ("diffusion.json", "diffusion.safetensors"):
            (alone / name).write_bytes((model / f"without-{p}" / name).read_bytes())
        trial.load(model).save(alone)
        theirs = scores(alone, "@strategy=naive,levels=4").embed(x[part == p])
        np.testing.assert_allclose(whole[part == p], theirs, rtol=1e-5)


def test_without_such_networks_seen_files_are_not_fair(tmp_path):
    given = material(60)
    crossed.pretrain_cross_fit(given, plan(2), tmp_path / "model", folds=0)
    fair = scores(tmp_path / "model").is_held_out(given.digests)
    assert 0 < fair.sum() < 30  # about a tenth was kept out
    assert scores(tmp_path / "model").is_held_out(["f" * 64]).all()


def test_scores_are_the_same_alone_and_together(model):
    x, _ = batch(12)
    encoder = scores(model, "@strategy=naive,levels=8")
    alone = np.concatenate([encoder.embed(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_allclose(encoder.embed(x), alone, rtol=1e-4, atol=1e-7)


def test_chosen_classes_are_columns_of_all(model):
    x, _ = batch(6)
    every = scores(model, "@strategy=naive,levels=4,seed=1").embed(x)
    some = scores(model, "@strategy=naive,levels=4,seed=1", ("2", "0")).embed(x)
    np.testing.assert_allclose(some, every[:, [2, 0]], rtol=1e-5)


def test_a_race_seldom_answers_otherwise_than_all_levels(model):
    x, _ = batch(150, 300)
    raced, naive = (scores(model, s).embed(x).argmax(1) for s in ("", "@strategy=naive"))
    assert np.mean(raced == naive) > 0.9


def test_it_is_an_encoder_that_classifies_and_explains(model):
    encoder = scores(model)
    assert isinstance(encoder, ScoresClasses)
    assert isinstance(encoder, Explains)
    drawn = encoder.explain(batch(1)[0][0], 0, 1)
    assert isinstance(drawn, Image.Image)
    again = restore_encoder(encoder.describe())
    assert again.space == encoder.space


def test_another_network_has_another_address(model, tmp_path):
    crossed.pretrain_cross_fit(material(), plan(2), tmp_path / "other", folds=0)
    assert scores(model).space != scores(tmp_path / "other").space
    assert scores(model).space != scores(model, "@seed=1").space
    assert scores(model).space != scores(model, "", ("1", "0", "2")).space


def test_a_model_that_is_gone_or_changed_is_not_taken_for_the_old_one(model, tmp_path):
    crossed.pretrain_cross_fit(material(), plan(2), tmp_path / "a", folds=0)
    told = scores(tmp_path / "a").describe()
    crossed.pretrain_cross_fit(material(), plan(3), tmp_path / "b", folds=0)
    name = "diffusion.safetensors"
    (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
    with pytest.raises(Unavailable, match="is not the encoder that was fitted with"):
        restore_encoder(told)


def test_the_whole_road(model, folder, store, tmp_path):
    name = f"diffusion:{model}"
    asked = FitConfig(encoders=("pixels", name), classifiers=(name,), methods=("GDA",))
    classifier, evidence = fit_with_report(read_images(folder, store=store), asked, store=store)
    ways = {(row.encoder.partition(":")[0], row.method) for row in evidence.results}
    assert ways == {
        ("pixels/8x8x1", "GDA()"),
        ("diffusion", "GDA()"),
        ("diffusion-classifier", "DiffusionClassifier()"),
    }
    assert all(row.scores is not None for row in evidence.results)
    assert [says[0] for _, says, _ in evidence.difference_maps] != []
    home = classifier.save(tmp_path / "kinds")
    assert "Difference maps of the diffusion classifier" in (home / "report.html").read_text(
        "utf-8"
    )
    files = sorted(folder.glob("test/*/*.png"))
    first = classifier.predict(files, store=store)
    again = load(home).predict(files, store=store)
    assert [p.name for p in first] == [p.name for p in again]
    assert np.mean([p.name == f.parent.name for p, f in zip(first, files, strict=True)]) > 0.8


def test_a_diffusion_classifier_alone_is_saved_and_asked_again(model, folder, store, tmp_path):
    asked = FitConfig(
        encoders=("pixels",), classifiers=(f"diffusion:{model}",), methods=("NaiveBayes",)
    )
    classifier = fit(read_images(folder, store=store), asked, store=store)
    if not classifier.encoder.name.startswith("diffusion-classifier"):
        classifier = fit(
            read_images(folder, store=store),
            FitConfig(encoders=(f"diffusion-classifier:{model}",)),
            store=store,
        )
    home = classifier.save(tmp_path / "kinds")
    files = sorted(folder.glob("test/*/*.png"))
    told = load(home).predict(files, store=store)
    assert [p.name for p in told] == [p.name for p in classifier.predict(files, store=store)]
    assert classifier.metadata["metrics"]["evaluation"]["log_loss"] < np.log(3)


def test_no_label_is_needed(model, folder, store, tmp_path):
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in sorted(folder.glob("test/*/*.png")):
        (flat / file.name).write_bytes(file.read_bytes())
    asked = FitConfig(encoders=("pixels",), classifiers=(f"diffusion:{model}",))
    classifier = fit(read_images(flat, store=store), asked, store=store)
    assert classifier.classes == ("0", "1", "2")
    files = sorted(folder.glob("test/*/*.png"))
    told = classifier.predict(files, store=store)
    assert np.mean([p.name == f.parent.name for p, f in zip(told, files, strict=True)]) > 0.8


def test_a_network_that_learnt_from_all_images_is_not_measured_on_them(folder, store, tmp_path):
    images = read_images(folder, store=store)
    x = np.stack(
        [np.asarray(Image.open(images.path_of(r))) for r in images.select_split("train").used]
    )
    y = torch.tensor([int(r.label) for r in images.select_split("train").used])
    digests = [r.digest for r in images.select_split("train").used]
    given = crossed.PretrainingData(
        Batch(torch.from_numpy(x[:, None]), y), digests, ("0", "1", "2")
    )
    crossed.pretrain_cross_fit(given, plan(2), tmp_path / "model", folds=0)
    seen.TrainingImages.from_images(x[:, None], digests, 0).save(tmp_path / "model")
    network, spec = checkpoint.load(tmp_path / "model"), checkpoint.read_spec(tmp_path / "model")
    checkpoint.save(network, spec, tmp_path / "model")
    asked = FitConfig(
        encoders=("pixels",), methods=("GDA",), classifiers=(f"diffusion:{tmp_path}/model",)
    )
    board = fit_with_report(images, asked, store=store)[1].results
    row = next(r for r in board if r.encoder.startswith("diffusion-classifier"))
    assert row.scores is None
    assert "it was trained on these images with their labels" in row.note


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("strategy=best", "no strategy is called 'best'"),
        ("level=3", "no setting is called 'level'"),
        ("levels=few", "levels='few' is not a valid int"),
        ("error=2", "it must lie between 0 and 1"),
        ("distance=l3", "unknown distance 'l3'"),
        ("levels=-1", "must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(text, says):
    with pytest.raises(InputError, match=says):
        ClassifierConfig.parse(text)


def test_settings_are_read_as_they_are_written():
    given = ClassifierConfig("naive", 16, 0.05, 3, "l1")
    assert ClassifierConfig.parse(str(given)) == given
    assert str(ClassifierConfig()) == ""
    assert split_name("a@b/c@levels=3") == ("a@b/c", "levels=3")
    assert split_name("a@b") == ("a@b", "")


def test_what_cannot_be_a_classifier_says_why(model, tmp_path):
    with pytest.raises(InputError, match=r"knows 3 classes .* and not 'cat'"):
        scores(model, "", ("0", "cat"))
    with pytest.raises(ArtifactError, match=r"no diffusion model of ilk"):
        scores(tmp_path)
    data = Batch(material(30).batch.x, torch.full((30,), -1))
    crossed.pretrain_cross_fit(
        crossed.PretrainingData(data, ["0" * 64] * 30, ()), plan(2), tmp_path / "blind"
    )
    with pytest.raises(InputError, match="pretrained without labels"):
        scores(tmp_path / "blind")
    with pytest.raises(ArtifactError, match=r"no optimized noise|noise\.json"):
        scores(model, "@strategy=noise").embed(batch(1)[0])


def test_commands_end_in_a_sentence(model, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    fitted = ["fit", str(folder), "--out", str(tmp_path / "kinds"), "--encoder", "pixels"]
    assert run([*fitted, "--classifier", "timm:x"]) == 2
    assert "diffusion:PATH" in capsys.readouterr().err
    assert run([*fitted, "--classifier", f"diffusion:{tmp_path}/nothing"]) != 0
    assert "create one with `ilk pretrain`" in capsys.readouterr().err


def test_pretraining_by_command_leaves_what_a_fair_judgement_needs(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    out = tmp_path / "model"
    asked = ["pretrain", str(folder), "--out", str(out), "--updates", "3", "--width", "8"]
    assert run([*asked, "--folds", "2"]) == 0
    held = seen.load(out)
    assert held.folds == 2
    assert len(held.file_hashes) == 150
    assert json.loads((out / "features.json").read_text())["selected_point"]["block"] >= 1
    assert (out / "without-1" / "diffusion.safetensors").exists()
    assert trial.load(out).errors.shape[1] == 3


def test_drawing_tells_how_far_pictures_lie_from_a_folder(
    model, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    asked = ["draw", str(model), "--count", "30", "--steps", "4", "--out", str(tmp_path / "a.png")]
    assert run([*asked, "--reference", str(folder)]) == 0
    told = capsys.readouterr().out
    found = re.search(r"210 images in .* on pixels/8x8x1: ([\d.]+) \(between .*: ([\d.]+)\)", told)
    assert float(found[1]) > float(found[2]) > 0
    assert run([*asked[:2], "--count", "1", "--out", asked[-1], "--reference", str(folder)]) == 2
    assert run([*asked[:2], "--out", str(tmp_path / "a.jpg")]) == 2
    assert "is not a PNG" in capsys.readouterr().err


def test_tuning_learns_from_images_that_the_model_never_saw(
    model, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    copy, more = tmp_path / "model", tmp_path / "more"
    shutil.copytree(model, copy)
    for at in np.flatnonzero(DIGITS.target < 3)[300:360]:
        place = more / str(DIGITS.target[at])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(X[at]).save(place / f"{at}.png")
    assert run(["tune", str(copy), str(more), "--noise-shots", "8"]) == 0
    told = capsys.readouterr().out
    assert "learned from 240 images" in told  # the pretraining's own, which are more
    assert re.search(r"chosen on \d+ held-out images: .* at sigma [\d.]+", told)
    x, y = batch(100, 380)
    found = scores(copy, "@strategy=noise").embed(x)
    assert np.mean(found.argmax(1) == y) > 0.5
    seen_x, seen_y = batch(60)  # the one network judges them too: the noise is its own
    assert scores(copy, "@strategy=noise").embed(seen_x).argmax(1).shape == seen_y.shape
    given = material().digests
    assert not scores(copy, "@strategy=noise").is_held_out(given).any()
    assert scores(copy).is_held_out(given).all()
    assert run(["tune", str(copy), str(folder)]) == 2
    assert "give labelled images that it was not trained on" in capsys.readouterr().err


def test_what_leaves_nothing_to_compare_is_pretrained_all_the_same(tmp_path):
    one = material(30, 1)
    crossed.pretrain_cross_fit(one, plan(2), tmp_path / "one class")
    assert not (tmp_path / "one class" / "features.json").exists()
    few = crossed.PretrainingData(
        Batch(one.batch.x[:3], torch.tensor([0, 1, 2])), one.digests[:3], tuple("abc")
    )
    crossed.pretrain_cross_fit(few, plan(2), tmp_path / "few")
    assert scores(tmp_path / "few").embed(few.batch.x.numpy()).shape == (3, 3)
    with pytest.raises(InputError, match="1 part leaves nothing to learn from"):
        crossed.pretrain_cross_fit(one, plan(2), tmp_path / "x", folds=1)
    assert not (tmp_path / "x").exists()


def test_unlabelled_images_are_not_said_to_be_learnt_with_labels(tmp_path):
    given = material(60)
    given.batch.y[30:] = -1
    crossed.pretrain_cross_fit(given, plan(2), tmp_path / "m", folds=2)
    held = seen.load(tmp_path / "m")
    np.testing.assert_array_equal(
        held.is_training_image(given.batch.x.numpy(), given.digests), np.arange(60) < 30
    )


def test_a_run_that_was_cut_off_is_not_taken_for_fair(tmp_path, monkeypatch):
    given = material(60)
    monkeypatch.setattr(crossed, "save_search_and_errors", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        crossed.pretrain_cross_fit(given, plan(2), tmp_path / "m", folds=0)
    assert not scores(tmp_path / "m").is_held_out(given.digests).all()


def test_other_labels_are_another_pretraining(tmp_path):
    given = material(60)
    crossed.pretrain_cross_fit(given, plan(2), tmp_path / "m", folds=0)
    given.batch.y[:] = given.batch.y.flip(0)
    with pytest.raises(InputError, match="other images, labels or groups"):
        crossed.pretrain_cross_fit(given, plan(2), tmp_path / "m", folds=0)


def test_a_folder_with_an_at_sign_is_found_again(model, tmp_path):
    shutil.copytree(model, tmp_path / "m@x")
    encoder = scores(tmp_path / "m@x", "@levels=3")
    assert restore_encoder(encoder.describe()).space == encoder.space


def test_a_held_out_part_that_was_learnt_from_is_told(folder, store, tmp_path):
    images = read_images(folder, store=store)
    rows = images.used
    x = np.stack([np.asarray(Image.open(images.path_of(r))) for r in rows])[:, None]
    data = Batch(torch.from_numpy(x), torch.tensor([int(r.label) for r in rows]))
    given = crossed.PretrainingData(data, [r.digest for r in rows], ("0", "1", "2"))
    crossed.pretrain_cross_fit(given, plan(2), tmp_path / "model", folds=0)
    asked = FitConfig(
        encoders=("pixels",), methods=("GDA",), classifiers=(f"diffusion:{tmp_path}/model",)
    )
    notes = fit_with_report(images, asked, store=store)[1].notes
    assert any("test images with their labels" in note for note in notes)


def test_a_shortlist_of_all_changes_nothing_and_a_short_one_spares_calls(model):
    x, y = batch(150, 300)
    every = scores(model, "@strategy=naive,levels=8").embed(x)
    listed = scores(model, "@strategy=naive,levels=8,shortlist=3").embed(x)
    np.testing.assert_allclose(listed, every, rtol=1e-5)
    encoder = scores(model, "@strategy=naive,levels=8,shortlist=2")
    short = encoder.embed(x)
    assert np.mean(short.argmax(1) == y) > 0.85
    judge = encoder._scorers[-1]
    assert (
        judge.score_batch(encoder.source.to_network_input(x), encoder.config).n_calls.tolist()
        == [16] * 150
    )
    best = judge._score_nearest_means(encoder.source.to_network_input(x)).argmax(1).numpy()
    assert np.mean(best == y) > 0.7  # the cheap head alone
    some = scores(model, "@strategy=naive,levels=8,shortlist=2", ("2", "0")).embed(x)
    assert np.isfinite(some).all()
    with pytest.raises(InputError, match="shortlist is -1"):
        ClassifierConfig.parse("shortlist=-1")


def test_a_class_whose_files_are_all_broken_is_not_a_class(model, folder, store, tmp_path):
    home = tmp_path / "digits"
    shutil.copytree(folder, home)
    for file in home.glob("*/2/*.png"):
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2] + file.name.encode())
    asked = FitConfig(encoders=("pixels",), classifiers=(f"diffusion:{model}",), methods=("GDA",))
    images = read_images(home, store=store, verify=False)
    classifier, report_data = fit_with_report(images, asked, store=store)
    assert classifier.classes == ("0", "1")
    assert all(row.scores is not None for row in report_data.results)
