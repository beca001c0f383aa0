"""In 8 bits: calibration fitted anew on honest rows, the loss measured, layers that fall back."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import ilk
from export.conftest import fit_model
from helpers.tiny_checkpoints import save_timm
from ilk.core.errors import ArtifactError, InputError
from ilk.export import int8
from ilk.export.check_images import encode_check_images
from ilk.export.encoders.network import get_network_key, read_network
from ilk.export.export_file import export_classifier
from ilk.export.int8_features import embed_images, list_networks, normalize_images
from ilk.export.quantize import QuantizableNetwork, run_network
from ilk.export.recalibrate import find_honest_index, recalibrate, score_rows
from ilk.images import read_images
from ilk.store import Store


@pytest.fixture(scope="module")
def world(home, tmp_path_factory):
    """A model of a tiny network, its folder, and a function that reads images for it."""
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    tmp, store = tmp_path_factory.mktemp("int8"), Store(home / "store.sqlite")
    encoder = f"local-dir:{save_timm(tmp / 'network')}"
    model = fit_model(home / "photos", tmp / "kinds", store, encoders=(encoder,))

    def read(name, limit=200):
        images = read_images(str(home / name))
        return encode_check_images(model, images, tmp / "kinds", name, store, limit=limit)

    return model, tmp / "kinds", read


def test_the_whole_way(world, tmp_path):
    model, folder, read = world
    images = read("new")
    result = export_classifier(model, folder, images, tmp_path / "m.onnx", int8=True)
    report = result.int8
    assert report["n_labelled"] == len(images) == 60
    assert report["scored"] == "not trained on"
    assert report["loss_interval"][0] < report["loss"] < report["loss_interval"][1]
    expected = report["accuracy_float32"] - report["loss"]
    assert report["accuracy_int8"] == pytest.approx(expected)
    assert report["size_ratio"] < 0.8
    assert report["layers"] > 10
    assert any("in 8 bits the accuracy" in note for note in report["notes"])
    content = (tmp_path / "m.onnx").read_bytes()
    assert content.count(b"QuantizeLinear") > 20
    assert result.parity.different_labels == 0


def test_the_network_in_8_bits_is_near_the_one_in_float(world):
    model, _, read = world
    [encoder] = list_networks(model.encoder)
    images = read("new", 16)
    batches = normalize_images(encoder, images, range(16))
    network = QuantizableNetwork(read_network(encoder), batches)
    exact = run_network(network.prepared, np.concatenate(batches))
    np.testing.assert_allclose(exact, images.x, rtol=1e-3, atol=1e-3)  # batches keep their order
    ranked = network.rank_layers(batches[0])
    assert sorted(ranked) == sorted(network.layers)

    def error(skipped):
        got = run_network(network.quantize(skipped=skipped), np.concatenate(batches))
        return np.linalg.norm(got - exact) / np.linalg.norm(exact)

    everything, without_worst = error([]), error(ranked[: len(ranked) // 2])
    assert 0 < without_worst < everything
    assert error(network.layers) < everything / 2
    features = embed_images(model.encoder, images, {get_network_key(encoder): network.prepared})
    np.testing.assert_allclose(features, images.x, rtol=1e-3, atol=1e-3)


def test_layers_fall_back_to_float_and_a_clear_loss_is_refused(world, monkeypatch):
    model, _, read = world
    images = read("new")
    tried = []

    def score(classifier, images, index, changed):
        rows = score_rows(classifier, images, index, changed)
        tried.append(changed)
        worse = rows.changed_logits.copy()
        wrong = slice(0, 20 if len(tried) == 1 else n_wrong)
        worse[wrong] = -np.eye(3)[rows.y[wrong]]
        return replace(rows, logits=np.eye(3)[rows.y], changed_logits=worse)

    monkeypatch.setattr(int8, "score_rows", score)
    monkeypatch.setattr(int8, "STEPS", (2, 4))
    n_wrong = 20
    with pytest.raises(ArtifactError, match=r"the accuracy falls by .* points \(95 % interval"):
        int8.build_int8(model, images, {})
    assert len(tried) == 3


def test_rows_that_were_trained_on_are_scored_out_of_fold(world):
    model, _, read = world
    images = read("photos")
    assert images.is_trained_on.all()
    index = find_honest_index(images)
    rows = score_rows(model, images, index, images.x)  # the features did not change
    assert rows.is_out_of_fold
    np.testing.assert_array_equal(rows.logits, rows.changed_logits)
    assert not rows.differences.any()
    in_sample = model.model.logits(images.x).argmax(1) == images.y
    out_of_fold = rows.changed_logits.argmax(1) == rows.y
    assert out_of_fold.mean() < in_sample.mean()  # an overfitted head looks better on its own rows
    fitted = recalibrate(model, rows)
    assert fitted.calibration.temperature == pytest.approx(model.calibration.temperature, rel=0.5)
    scale = 1.7
    noisy = replace(rows, changed_score=rows.changed_score * scale)
    threshold = recalibrate(model, noisy).ood_detector.threshold
    assert threshold == pytest.approx(scale * fitted.ood_detector.threshold)


def test_new_rows_are_preferred_and_scored_by_the_head_itself(world):
    model, _, read = world
    both = read("new")
    mixed = replace(both, is_trained_on=np.arange(len(both)) < 10)
    assert find_honest_index(mixed).tolist() == list(range(10, 60))
    rows = score_rows(model, both, np.arange(60), both.x)
    assert not rows.is_out_of_fold
    np.testing.assert_allclose(rows.logits, model.model.logits(both.x))


def test_what_is_missing_is_said(world, home):
    model, _, read = world
    few = read("new", 30)
    with pytest.raises(InputError, match=r"needs 40 labelled images .* there are 30"):
        int8.build_int8(model, few, {})
    unknown = replace(model, metadata={**model.metadata, "method": "Ensemble of 3"})
    trained = read("photos")
    with pytest.raises(InputError, match=r"Ensemble of 3.* cannot be fitted to folds again"):
        score_rows(unknown, trained, np.arange(len(trained)), trained.x)
    plain = ilk.load(home / "kinds")
    with pytest.raises(InputError, match="has no network, so --int8 would change nothing"):
        int8.build_int8(plain, few, {})


def test_the_interval_of_paired_differences():
    """Against Student's interval of many pairs, and against its own mirror image."""
    rng = np.random.default_rng(0)
    differences = rng.choice([-1, 0, 1], 20_000, p=[0.02, 0.93, 0.05])
    low, high = int8.estimate_loss(differences)
    half = 1.96 * differences.std() / np.sqrt(len(differences))
    assert (low + high) / 2 == pytest.approx(differences.mean(), abs=1e-4)
    assert (high - low) / 2 == pytest.approx(half, rel=1e-2)
    assert int8.estimate_loss(-differences) == pytest.approx((-high, -low))
    low, high = int8.estimate_loss(np.zeros(50, np.int64))
    assert low < 0 < high < 0.06


def test_pairs_of_a_group_count_as_far_as_they_differ():
    differences = np.random.default_rng(1).choice([-1, 0, 1], 60, p=[0.1, 0.6, 0.3])
    alone = int8.estimate_loss(differences, np.full(60, -1))
    assert alone == int8.estimate_loss(differences)
    tenfold, groups = np.repeat(differences, 10), np.repeat(np.arange(60), 10)
    assert int8.estimate_loss(tenfold, groups) == pytest.approx(alone, abs=0.02)
    low, high = int8.estimate_loss(tenfold)
    assert high - low < 0.5 * (alone[1] - alone[0])
