"""From a saved classifier to a compressed one that answers like it, from its folder alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

import ilk
from export.conftest import fit_model, save_images
from helpers.compressed_networks import write_network
from ilk.compression import compress as module
from ilk.compression.compress import compress_classifier
from ilk.compression.config import CompressionConfig
from ilk.compression.figures import _compare_calibration, measure_figures
from ilk.compression.refit import can_refit, refit_head, take_training_data
from ilk.compression.replace_networks import replace_networks
from ilk.core.errors import ArtifactError, InputError, Unavailable
from ilk.encoders import onnx_network
from ilk.encoders.registry import resolve_encoder
from ilk.export.check_images import encode_check_images
from ilk.export.encoders.network import get_network_key
from ilk.export.export_file import export_classifier
from ilk.export.recalibrate import HonestRows, find_row_groups, score_rows
from ilk.images import read_images
from ilk.store import Store


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Speeds are not measured: before takes three times as long as after."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "compare_speeds", lambda *_: {"before": 6.0, "after": 2.0})
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with images, a model of them on a float32 network, and new images."""
    home = tmp_path_factory.mktemp("compress")
    store = Store(home / "store.sqlite")
    write_network(home / "network")
    save_images(home / "photos")
    save_images(home / "new", n=20, seed=1)
    model = fit_model(
        home / "photos", home / "kinds", store, encoders=(f"compressed:{home / 'network'}",)
    )

    def read(name="photos", limit=200):
        images = read_images(str(home / name), store=store)
        return encode_check_images(model, images, home / "kinds", name, store, limit=limit)

    return model, home / "kinds", read, store


@pytest.fixture(scope="module")
def int8(world):
    model, folder, read, store = world
    return compress_classifier(model, folder, read(), store)


def test_the_whole_way_in_8_bits(world, int8, tmp_path):
    model, _, read, store = world
    report = int8.report
    assert report["head"] == "refitted"
    assert report["scored"] == "out of fold"
    assert report["n_labelled"] == 72
    assert all(report["runtimes"])
    assert report["loss"] <= 0.005 or report["figures"][0]["low"] < 0
    assert set(report["speed_ratios"]) == {"1", "16"}
    names = [figure.name for figure in int8.figures]
    assert names == [
        "accuracy", "log loss", "calibration error", "coverage", "mean set size",
    ]  # fmt: skip
    assert all(figure.low <= figure.change <= figure.high for figure in int8.figures[:2])
    moved = int8.classifier.save(tmp_path / "small")
    loaded = ilk.load(moved)
    assert loaded.encoder.space.key == int8.classifier.encoder.space.key
    assert loaded.encoder.space.key != model.encoder.space.key
    content = (moved / "encoder" / "network.onnx").read_bytes()
    assert content.count(b"QuantizeLinear") > 4
    new = read("new")
    pictures = [str(new.images.path_of(row)) for row in new.rows]
    got = [p.name for p in loaded.predict(pictures, store=store)]
    expected = [p.name for p in model.predict(pictures, store=store)]
    assert np.mean([a == b for a, b in zip(got, expected, strict=True)]) > 0.85
    assert loaded.metadata["compression"]["int8"] is True
    assert loaded.summary_statistics.width == 6


@pytest.fixture(scope="module")
def pruned(world):
    model, folder, read, store = world
    settings = CompressionConfig(int8=False, prune=0.3, max_loss=1)
    return compress_classifier(model, folder, read(), store, settings)


def test_everything_rests_on_the_changed_features(world, pruned):
    model, _, read, _ = world
    changed = pruned.classifier
    log_loss = pruned.figures[1]
    assert log_loss.before != log_loss.after
    assert changed.calibration != model.calibration
    assert changed.conformal.threshold != model.conformal.threshold
    assert changed.ood_detector.threshold != model.ood_detector.threshold
    assert changed.ood_detector.false_alarm == model.ood_detector.false_alarm
    assert not np.allclose(changed.model.logits(pruned.changed), model.model.logits(read().x))
    index, images = changed.neighbours(), read()
    assert len(index) == 72
    assert index.space == changed.encoder.space.key
    rows = {row.digest: x for row, x in zip(images.rows, pruned.changed, strict=True)}
    expected = np.stack([rows[digest] for digest in index.digests]).astype(np.float16)
    np.testing.assert_array_equal(index.features, expected)
    assert pruned.report["speed_ratios"] == {"1": 3.0, "16": 3.0}


def test_the_figures_are_those_of_the_levels_and_priors_of_the_model(world, monkeypatch):
    from ilk.trust.class_priors import ClassPriors

    model, folder, read, store = world
    given = []

    def stop(*args):
        given.extend(args)
        raise InputError("stop")

    monkeypatch.setattr(module, "measure_figures", stop)
    priors = ClassPriors(np.full(3, 1 / 3), np.array([0.5, 0.3, 0.2]))
    other = replace(model, conformal=replace(model.conformal, level=0.7), class_priors=priors)
    with pytest.raises(InputError, match="stop"):
        compress_classifier(other, folder, read(), store, CompressionConfig(max_loss=1, seed=4))
    rows, *others = given
    assert others == [0.7, priors, 4]
    assert len(rows.y) == 72


def test_the_head_is_refitted_where_all_that_it_was_fitted_to_is_there(world):
    model, folder, read, _ = world
    images = read()
    everything = np.arange(len(images))
    assert can_refit(model, images, folder)
    assert not can_refit(model, images.take(everything[1:]), folder)
    assert not can_refit(model, replace(images, y=np.where(everything == 3, -1, images.y)), folder)
    more = replace(
        images, rows=(*images.rows, *read("new").rows), y=np.append(images.y, read("new").y)
    )
    assert can_refit(model, more, folder)
    for entry in ({"last_added": "2026"}, {"extensions": [1]}, {"method": "Ensemble of 3"}):
        assert not can_refit(replace(model, metadata={**model.metadata, **entry}), images, folder)


def test_the_head_is_refitted_to_what_it_was_fitted_to_alone(world):
    model, _, read, _ = world
    images = read()
    is_trained_on = np.arange(len(images)) % 2 == 0
    data = take_training_data(model, replace(images, is_trained_on=is_trained_on), images.x)
    assert np.array_equal(data.x, images.x[::2])
    assert np.array_equal(data.y, images.y[::2])
    rare = replace(model, ood_detector=replace(model.ood_detector, false_alarm=0.2))
    assert refit_head(rare, images, images.x).ood_detector.false_alarm == 0.2


def test_a_pruned_model_is_exported_and_its_file_answers_the_same(world, pruned, tmp_path):
    _, _, read, _ = world
    result = pruned
    before, after = result.report["multiply_adds"]
    assert after < 0.8 * before
    assert result.report["bytes_after"] < result.report["bytes_before"]
    saved = result.classifier.save(tmp_path / "small")
    images = replace(read(), x=result.changed)
    export = export_classifier(result.classifier, saved, images, tmp_path / "small.onnx")
    assert export.parity.different_labels == 0


def test_a_compressed_model_is_exported_in_8_bits_as_it_is(world, int8, tmp_path):
    _, folder, read, store = world
    images = replace(read(), x=int8.changed)
    export = export_classifier(int8.classifier, folder, images, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes().count(b"QuantizeLinear") > 4
    assert export.parity.different_labels == 0
    with pytest.raises(InputError, match="in 8 bits already; leave --int8 out"):
        export_classifier(int8.classifier, folder, images, tmp_path / "m.onnx", int8=True)
    with pytest.raises(InputError, match="in 8 bits already; compress the model that it was made"):
        compress_classifier(int8.classifier, folder, images, store)


def test_with_other_images_the_head_stays(world):
    model, folder, read, store = world
    result = compress_classifier(model, folder, read("new"), store)
    assert result.report["head"] == "kept"
    assert result.report["scored"] == "not trained on"
    assert result.classifier.model is model.model
    assert result.classifier.summary_statistics is model.summary_statistics


def test_a_loss_beyond_the_bound_is_refused(world, monkeypatch):
    model, folder, read, store = world

    def lose(*arguments, **options):
        rows = score_rows(*arguments, **options)
        changed = rows.logits.copy()
        changed[:30] = -changed[:30]
        return replace(rows, changed_logits=changed)

    monkeypatch.setattr(module, "score_rows", lose)
    with pytest.raises(
        ArtifactError, match=r"in 8 bits the accuracy falls by .* more than 0\.5; nothing was"
    ):
        compress_classifier(model, folder, read(), store)
    settings = CompressionConfig(max_loss=1)
    report = compress_classifier(model, folder, read(), store, settings).report
    assert report["loss"] > 0.3
    assert report["same_names"] < 0.7


def test_what_cannot_be_compressed_is_said(world, tmp_path):
    model, folder, read, store = world
    plain = fit_model(folder.parent / "photos", tmp_path / "plain", store)
    with pytest.raises(InputError, match=r"pixels/6x6x3 has no network, so there is nothing"):
        compress_classifier(plain, folder, read(), store)
    with pytest.raises(InputError, match="needs 40 labelled images"):
        compress_classifier(model, folder, read(limit=20), store)
    with pytest.raises(InputError, match="neither 8 bits nor pruning"):
        CompressionConfig(int8=False)
    for wrong in ({"prune": 1.0}, {"prune": -0.1}, {"max_loss": 2}, {"max_loss": float("nan")}):
        with pytest.raises(InputError, match=r"--prune is|--max-loss is"):
            CompressionConfig(**wrong)


def test_without_an_engine_the_encoder_says_what_to_install(world, monkeypatch):
    model, *_ = world
    monkeypatch.setattr(onnx_network, "list_engines", lambda *_: [])
    with pytest.raises(Unavailable, match=r"needs OpenVINO or ONNX Runtime.*pip install"):
        onnx_network.open_onnx_runner(b"", "k", model.encoder.preprocess, name="compressed:x")


def test_an_engine_that_computes_something_else_is_not_used(world, monkeypatch):
    model, *_ = world
    content = model.encoder.checkpoint.network.content
    monkeypatch.setattr(onnx_network, "compute_exactly", lambda _c, x: np.ones((len(x), 6)))
    with pytest.raises(InputError, match="gives features that differ by"):
        onnx_network.open_onnx_runner(content, "another key", model.encoder.preprocess)


def test_figures_of_unchanged_rows_do_not_change(world):
    model, _, read, _ = world
    images = read()
    rows = score_rows(model, images, np.arange(len(images)), images.x)
    for figure in measure_figures(rows, 0.9):
        assert figure.before == figure.after
        assert figure.low <= 0 <= figure.high


def test_a_calibration_holds_clusters_together_as_the_fit_did(world):
    model, _, read, _ = world
    images = read()
    index = np.arange(len(images))
    assert (find_row_groups(model, images, index) == -1).all()
    summary = model.summary_statistics
    grouped = replace(summary, group=np.arange(len(summary.y)) // 2)
    clustered = replace(model, summary_statistics=grouped)
    rows = tuple(
        replace(row, path=f"{row.label}/scene{i // 6}_{i}.jpg") for i, row in enumerate(images.rows)
    )
    x = np.repeat(images.x[::6], 6, axis=0) + 1e-3 * images.x  # the images of a scene are alike
    scenes = replace(images, rows=rows, x=x)
    found = find_row_groups(clustered, scenes, index)
    assert (found >= 0).mean() > 0.5
    assert (find_row_groups(model, scenes, index) == -1).all()


def test_the_engine_behind_views_is_named(world):
    from ilk.encoders.variants import Variant

    encoder = Variant(views=2).open(world[0].encoder)
    assert module._name_runtimes(encoder) == module._name_runtimes(world[0].encoder) != ""


def test_priors_change_answers_before_and_after():
    from ilk.trust.class_priors import ClassPriors

    rows = make_rows(0.9, 0.9)
    priors = ClassPriors(np.full(10, 0.1), np.array([1e9, *[1e-9] * 9]))  # always the first class
    accuracy = measure_figures(rows, 0.9, priors)[0]
    assert accuracy.before == accuracy.after == pytest.approx(0.1, abs=0.01)


def test_answers_that_become_too_sure_have_a_greater_calibration_error():
    rng = np.random.default_rng(0)
    y = np.arange(500) % 2
    right = rng.random(500) < 0.8
    first = np.where((y == 0) == right, 0.8, 0.2)
    p, q = (np.stack([v, 1 - v], 1) for v in (first, np.where(first > 0.5, 0.99, 0.01)))
    figure = _compare_calibration(p, q, y, np.full(500, -1), 0)
    assert figure.before < 0.05 < 0.1 < figure.after
    assert 0 < figure.low <= figure.change <= figure.high
    worse = _compare_calibration(q, p, y, np.full(500, -1), 0)
    assert (worse.low, worse.high) == pytest.approx((-figure.high, -figure.low))


def test_copies_of_an_image_make_no_figure_surer():
    rows = make_rows(0.9, 0.7, n=120)
    copied = HonestRows(
        *(np.repeat(a, 5, axis=0) for a in (rows.index, rows.y, np.arange(120))),
        *(np.repeat(a, 5, axis=0) for a in (rows.logits, rows.changed_logits)),
        np.zeros(600),
        True,
    )
    for alone, together in zip(
        measure_figures(rows, 0.8), measure_figures(copied, 0.8), strict=True
    ):
        width = alone.high - alone.low
        assert 0.7 * width < together.high - together.low < 1.4 * width, alone.name


def make_rows(right_before, right_after, n=400, k=10, seed=0):
    """Rows of which parts are right before and after, with sets of about four names."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    logits = []
    for part in (right_before, right_after):
        z = rng.normal(0, 1, (n, k))
        right = rng.random(n) < part
        z[np.arange(n), np.where(right, y, (y + 1) % k)] += 3
        logits.append(z)
    return HonestRows(np.arange(n), y, np.full(n, -1), *logits, np.zeros(n), True)


def test_figures_fall_where_a_model_becomes_worse_and_sets_cover_the_true_class():
    rows = make_rows(0.9, 0.5)
    accuracy, log_loss, _, coverage, names = measure_figures(rows, 0.8)
    assert accuracy.change < -0.2
    assert accuracy.low < accuracy.change < accuracy.high < 0
    assert log_loss.low > 0
    assert names.low > 0
    assert 0.7 < coverage.after < 0.9  # the class of the image, and not the most probable one


def test_a_compressed_network_still_knows_what_it_was_trained_on(tmp_path):
    known = np.arange(64, dtype=np.uint8).reshape(2, 32)
    write_network(tmp_path / "network", trained_on=known)
    encoder = resolve_encoder(f"compressed:{tmp_path / 'network'}")
    key = get_network_key(encoder)
    model = onnx.load_from_string(encoder.checkpoint.network.content)
    smaller = replace_networks(encoder, {key: model}, {}, False, tmp_path / "small")
    digests = [known[0].tobytes().hex(), "ff" * 32]
    assert smaller.is_held_out(digests).tolist() == [False, True]
    assert smaller.is_held_out(digests, np.array([-1, -1])).tolist() == [False, True]


def test_intervals_are_those_of_groups():
    """Four copies of an image, all in one group, say no more than the image."""
    rows = make_rows(0.9, 0.7)
    at = np.repeat(np.arange(len(rows.y)), 4)
    copies = HonestRows(
        np.arange(len(at)), rows.y[at], rows.index[at], rows.logits[at], rows.changed_logits[at],
        np.zeros(len(at)), True,
    )  # fmt: skip
    apart = replace(copies, group=np.full(len(at), -1))
    widths = [
        [figure.high - figure.low for figure in measure_figures(r, 0.8)]
        for r in (rows, copies, apart)
    ]
    for single, grouped, ungrouped in zip(*widths, strict=True):
        assert grouped == pytest.approx(single, rel=0.25)
        assert grouped > 1.5 * ungrouped


def test_parts_of_a_combination_lie_in_folders_of_their_own_and_views_stay(tmp_path):
    from ilk.artifacts.encoder_files import collect_files
    from ilk.encoders.combined import CombinedEncoder
    from ilk.encoders.variants import Variant

    encoders, models = [], {}
    for seed in (0, 1):
        write_network(tmp_path / f"n{seed}", seed)
        encoder = resolve_encoder(f"compressed:{tmp_path / f'n{seed}'}", runtime="onnxruntime")
        content = encoder.checkpoint.network.content
        models[get_network_key(encoder)] = onnx.load_from_string(content)
        encoders.append(encoder)
    pixels = resolve_encoder("pixels/4x4x3")
    parts = (encoders[0], pixels, Variant(views=3).open(encoders[1]))
    made = replace_networks(CombinedEncoder(parts), models, {}, False, tmp_path / "m")
    first, second, third = made.parts
    assert (first.runtime, third.base.runtime, third.n_views) == ("onnxruntime", "onnxruntime", 3)
    assert second is pixels
    description, files = collect_files(made)
    assert [part.get("inside") for part in description["parts"]] == ["encoder", None, "encoder-3"]
    assert set(files) == {
        f"{folder}/{name}" for folder in ("encoder", "encoder-3")
        for name in ("compressed.json", "network.onnx")
    }  # fmt: skip
    assert files["encoder/network.onnx"] != files["encoder-3/network.onnx"]
    assert len({part.name for part in made.parts}) == 3
