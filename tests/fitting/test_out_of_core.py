"""A fit on a shard folder: the fit on the images where it fits in memory, close to it elsewhere."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import ilk
from helpers.held_stream import HeldSource
from ilk.cli import fit as fit_command
from ilk.core.data import Data
from ilk.encoders import resolve_encoder
from ilk.fitting.config import FitConfig
from ilk.fitting.out_of_core.ranking import StreamedLeaderboard
from ilk.fitting.out_of_core.streamed_rows import number_parts, stream_rows
from ilk.images import read_images
from ilk.maths.gaussian import compute_statistics
from ilk.shards.encode import encode_shards
from ilk.shards.features import write_features
from ilk.shards.manifest import Manifest
from ilk.store import Store

ENCODER = "pixels/4x4x3"
RAW = "GDA(rows='raw')"  # with few rows per class, directions of rows need the rows
SMALL = 1e-5  # gigabytes: less than any fit here takes


def draw(path, c, seed):
    """Save a noisy picture of class c."""
    rng = np.random.default_rng(seed)
    colour = np.random.default_rng(1000 + c).random((8, 8, 3))
    pixels = 0.25 * colour + 0.75 * rng.random((8, 8, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * pixels).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three classes, one with a single image, a test split, unlabelled, damaged and twice."""
    home = tmp_path_factory.mktemp("data") / "photos"
    for split, n in (("train", 45), ("test", 8)):
        for c in range(3):
            for i in range(n):
                draw(home / split / "abc"[c] / f"p{i // 3}_{i}.png", c, hash((split, c, i)) % 9999)
    draw(home / "train" / "single" / "one.png", 3, 77)
    (home / "train" / "a" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    copied = (home / "train" / "a" / "p0_0.png").read_bytes()
    (home / "train" / "a" / "z copy.png").write_bytes(copied)
    return home


def make_shards(folder, source, *names):
    manifest = Manifest.write(folder, read_images(source, verify=False), shard_size=25)
    for name in names or (ENCODER,):
        list(encode_shards(folder, range(manifest.n_shards), resolve_encoder(name)))
    return folder


@pytest.fixture(scope="module")
def shards(photos, tmp_path_factory):
    return make_shards(tmp_path_factory.mktemp("shards") / "s", photos)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    one = Store(tmp_path / "store.sqlite")
    yield one
    one.close()


def strip(board):
    return [{n: v for n, v in row.items() if n != "seconds"} for row in board["results"]]


def test_a_fit_on_shards_in_memory_is_the_fit_on_the_folder(photos, shards, store, tmp_path):
    methods = ("GDA", "Ridge", "KNearest")
    want = ilk.fit(photos, encoders=ENCODER, methods=methods, folds=3, store=store)
    empty = Store(tmp_path / "empty.sqlite")
    got = ilk.fit(shards, methods=methods, folds=3, store=empty)
    empty.close()
    assert strip(got.metadata["leaderboard"]) == strip(want.metadata["leaderboard"])
    assert got.metadata["notes"] == want.metadata["notes"]
    for name in ("metrics", "thresholds", "data"):
        assert got.metadata[name] == want.metadata[name]
    x = np.random.default_rng(0).random((20, 48)).astype(np.float32)
    a, b = got.score_batch(x), want.score_batch(x)
    np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-6)
    np.testing.assert_allclose(a.unknown_score, b.unknown_score, rtol=1e-6)
    np.testing.assert_array_equal(a.prediction_sets, b.prediction_sets)


def test_the_model_of_a_fit_out_of_core_is_close_and_predicts_new_images(
    photos, shards, store, tmp_path
):
    lines = []
    got = ilk.fit(shards, methods=("GDA",), folds=3, store=store, memory=SMALL, log=lines.append)
    want = ilk.fit(photos, encoders=ENCODER, methods=("GDA",), folds=3, store=store)
    x = np.random.default_rng(0).random((20, 48)).astype(np.float32)
    np.testing.assert_allclose(got.model.logits(x), want.model.logits(x), atol=1e-3, rtol=1e-4)
    a, b = got.score_batch(x), want.score_batch(x)
    np.testing.assert_allclose(a.unknown_score, b.unknown_score, rtol=1e-4)
    np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-3)
    for name in ("accuracy", "coverage", "mean_set_size", "unknown_rate", "log_loss"):
        first, second = (one.metadata["metrics"]["evaluation"][name] for one in (got, want))
        if isinstance(first, dict):
            first, second = first["value"], second["value"]
        assert first == pytest.approx(second, abs=1e-3)
    loaded = ilk.load(got.save(tmp_path / "model"))
    new = tmp_path / "new.png"
    draw(new, 1, 4321)
    assert loaded.predict(new, store=store).name == want.predict(new, store=store).name
    assert any("block by block" in line for line in lines)
    saved = json.loads((tmp_path / "model" / "intake.json").read_text())
    assert saved["counts"]["files"] == 162
    assert {row["reason"] for row in saved["rows"]} == {"truncated", "duplicate"}


def test_every_number_of_the_leaderboard_is_that_of_folds_in_memory(
    photos, shards, store, monkeypatch
):
    monkeypatch.setattr("ilk.fitting.fit.REPEAT_SECONDS", 0.0)  # of folds where images are few
    names = ("GDA(rows='raw')", "NaiveBayes", "NearestClassMean", "Ridge(alpha=1.0)", "KNearest")
    got = ilk.fit(shards, methods=names, folds=3, store=store, memory=SMALL)
    want = ilk.fit(photos, encoders=ENCODER, methods=names, folds=3, store=store, single=True)

    def scores(classifier):
        rows = classifier.metadata["leaderboard"]["results"]
        return {r["method"]: (r["scores"]["log_loss"], r["scores"]["n"]) for r in rows}

    first, second = scores(got), scores(want)
    for name in second:
        if name != "KNearest()":  # keeps fewer rows with so little memory
            assert first[name] == pytest.approx(second[name], rel=1e-4)
    assert first.keys() == second.keys()


def test_groups_stay_out_of_the_models_that_are_tested_on_them():
    fold = np.array([0, 0, 1, 1, -1, -1, -1])
    group = np.array([0, -1, 1, 2, 0, 5, -1])
    part = number_parts(fold, group)
    assert part.tolist() == [0, 0, 1, 1, 2, 4, 4]
    rng = np.random.default_rng(0)
    y, x = np.arange(7) % 2, rng.normal(size=(7, 3)).astype(np.float32)
    stream = stream_rows(HeldSource(x), np.arange(7), y, group, ("a", "b"), part, 2**20)
    sample = Data(x[:4], y[:4], ("a", "b"), group=group[:4])
    builder = StreamedLeaderboard(stream, 2, sample, fold[:4], FitConfig())
    assert builder.find_training(0).positions.tolist() == [2, 3, 5, 6]  # not 4, of group 0
    assert builder.find_training(1).positions.tolist() == [0, 1, 4, 5, 6]
    left = compute_statistics(x[[2, 3, 5, 6]], y[[2, 3, 5, 6]], 2)
    got = builder.find_training(0).statistics
    np.testing.assert_allclose(got.scatter, left.scatter, atol=1e-5)


def test_sets_and_thresholds_of_groups_are_those_of_groups(shards, store):
    got = ilk.fit(
        shards, methods=(RAW,), folds=3, store=store, memory=SMALL, group_from=r"([abc]/p\d+)_"
    )
    assert got.conformal.n_groups > 0
    assert any("groups" in note for note in got.metadata["notes"])


def test_samples_are_drawn_in_proportion_and_their_effect_is_said(
    shards, store, tmp_path, monkeypatch
):
    monkeypatch.setattr("ilk.fitting.out_of_core.fit_streamed.SAMPLE_ROWS", 30)
    lines = []
    got = ilk.fit(shards, methods=("GDA",), folds=3, store=store, memory=SMALL, log=lines.append)
    samples = got.metadata["samples"]
    assert samples["n_train"] == 136
    assert samples["n_tested"] == 30
    assert samples["n_held_out"] == 24
    (line,) = [line for line in lines if "based on" in line]
    assert "30 of 136 training images" in line
    assert f"± {100 * samples['accuracy_margin']:.1f} points" in line
    p = samples["accuracy"]
    assert samples["accuracy_margin"] == pytest.approx(1.96 * np.sqrt(p * (1 - p) / 30), rel=0.15)
    home = got.save(tmp_path / "m")
    board = json.loads((home / "leaderboard.json").read_text())
    assert board["samples"] == samples
    assert "30 of 136 training images" in (home / "report.html").read_text()


def test_methods_that_need_all_rows_are_left_out_by_name(shards, store):
    lines = []
    ilk.fit(
        shards,
        methods=(RAW, "ELR(epochs=1.0)"),
        folds=2,
        store=store,
        memory=SMALL,
        log=lines.append,
    )
    assert any("ELR" in line and "left out" in line for line in lines)
    with pytest.raises(ilk.IlkError, match="raise --memory"):
        ilk.fit(shards, methods=("ELR(epochs=1.0)",), store=store, memory=SMALL)


def test_a_missing_and_a_truncated_part_name_the_command_that_completes_it(photos, store, tmp_path):
    folder = make_shards(tmp_path / "s", photos)
    (part,) = folder.glob("features/*/part-00001.parquet")
    content = part.read_bytes()
    part.write_bytes(content[: len(content) // 2])
    with pytest.raises(ilk.IlkError, match=r"part-00001.*ilk encode"):
        ilk.fit(folder, store=store)
    part.unlink()
    with pytest.raises(ilk.IlkError, match=r"part-00001.*missing.*ilk encode"):
        ilk.fit(folder, store=store)


def test_of_two_encoders_one_is_chosen_out_of_core_and_both_are_compared_in_memory(
    photos, store, tmp_path
):
    folder = make_shards(tmp_path / "s", photos, ENCODER, "hog")
    for encoders in ((ENCODER, "hog"), ()):
        both = ilk.fit(folder, encoders=encoders, methods=(RAW,), folds=2, store=store)
        rows = both.metadata["leaderboard"]["results"]
        assert {row["encoder"] for row in rows} == {ENCODER, "hog/32"}
    with pytest.raises(ilk.IlkError, match="name one with --encoder"):
        ilk.fit(folder, store=store, memory=SMALL)
    with pytest.raises(ilk.IlkError, match="name one with --encoder"):
        ilk.fit(folder, encoders=(ENCODER, "hog"), store=store, memory=SMALL)
    one = ilk.fit(folder, encoders="hog", methods=(RAW,), folds=2, store=store, memory=SMALL)
    assert one.encoder.name == "hog/32"
    with pytest.raises(ilk.IlkError, match="no features of pixels/2x2x3"):
        ilk.fit(folder, encoders="pixels/2x2x3", store=store)


def write(folder, labels, x=None, **settings):
    x = (
        np.random.default_rng(0).normal(size=(len(labels), 48)).astype(np.float32)
        if x is None
        else x
    )
    space = resolve_encoder(ENCODER).space
    return write_features(folder, x, labels, name=ENCODER, key=space.key, **settings)


def test_without_labels_or_with_one_class_the_fit_says_so(store, tmp_path):
    write(tmp_path / "none", [None] * 40)
    write(tmp_path / "one", ["a"] * 40)
    for memory in (0.0, SMALL):
        with pytest.raises(ilk.IlkError, match="no labels"):
            ilk.fit(tmp_path / "none", store=store, memory=memory)
        with pytest.raises(ilk.IlkError, match="only one class"):
            ilk.fit(tmp_path / "one", store=store, memory=memory)


def test_a_guess_by_names_alone_is_made_in_memory_only(store, tmp_path):
    write(tmp_path / "none", [None] * 40)
    with pytest.raises(ilk.IlkError, match="in memory only"):
        ilk.fit(tmp_path / "none", classes=("a", "b"), store=store, memory=SMALL)


def test_where_every_class_has_one_image_nothing_is_measured(store, tmp_path):
    write(tmp_path / "s", list("abcdefgh"))
    got = ilk.fit(tmp_path / "s", methods=("NearestClassMean",), store=store, memory=SMALL)
    assert got.metadata["metrics"]["cross_validation"] is None
    assert got.conformal.threshold == 0


def test_features_of_other_weights_and_features_that_are_not_finite_are_refused(store, tmp_path):
    labels = ["a", "b"] * 20
    x = np.random.default_rng(0).normal(size=(40, 48)).astype(np.float32)
    write_features(tmp_path / "other", x, labels, name=ENCODER, key="0" * 64)
    with pytest.raises(ilk.IlkError, match="different weights"):
        ilk.fit(tmp_path / "other", store=store)
    x[3, 3] = np.nan
    with pytest.raises(ilk.IlkError, match="not all finite"):
        write(tmp_path / "nan", labels, x)


def test_settings_that_need_the_images_are_refused_by_name(shards, store):
    for settings in ({"resize": "squash"}, {"views": 4}, {"label_column": "x"}):
        with pytest.raises(ilk.IlkError, match=next(iter(settings))):
            ilk.fit(shards, store=store, **settings)
    with pytest.raises(ilk.IlkError, match="memory"):
        ilk.fit(shards, store=store, memory=-1)


def test_the_command_reads_shards(shards, store, tmp_path):
    home = tmp_path / "model"
    options = ["--method", "GDA", "--method", "NaiveBayes", "--folds", "3"]
    run = CliRunner().invoke
    for extra, text in (([], "accuracy"), (["--memory", str(SMALL)], "block by block")):
        result = run(fit_command.command, [str(shards), "--out", str(home), *options, *extra])
        assert result.exit_code == 0, result.output
        assert text in result.output
        assert "report" in result.output
    for bad, text in (
        (["--exclude", "*.jpg"], "--exclude"),
        (["--label-column", "x"], "--label-column"),
        (["--resize", "squash"], "--resize"),
    ):
        result = run(fit_command.command, [str(shards), "--out", str(home), *options, *bad])
        assert result.exit_code != 0
        assert text in result.output + str(result.exception)
