"""The file answers as the model, says so in its metadata, and is refused where it does not."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import ilk
from export.conftest import fit_model, save_images
from helpers.tiny_checkpoints import save_timm
from ilk.core.ensemble import EnsembleModel, MemberModel
from ilk.core.errors import ArtifactError, InputError, NoImages
from ilk.core.linear_models import Linear
from ilk.export.build import OUTPUTS, build_model, get_metadata
from ilk.export.check_images import encode_check_images, find_own_images
from ilk.export.export_file import export_classifier, read_runner
from ilk.export.graphs.find_writers import list_part_writers
from ilk.export.parity import check_parity
from ilk.export.session import Session
from ilk.images import read_images
from ilk.store import Store
from ilk.trust.class_priors import ClassPriors
from ilk.trust.column_detector import ColumnDetector
from ilk.trust.conformal import TIE_PROBABILITY, ConformalPredictor


@pytest.fixture
def model(home):
    return ilk.load(home / "kinds")


@pytest.fixture
def images(home, model):
    new = read_images(str(home / "new"))
    return encode_check_images(
        model, new, home / "kinds", "new images", Store(home / "store.sqlite")
    )


def test_the_file_answers_as_predict_and_records_it(home, model, images, tmp_path):
    import onnxruntime

    path = tmp_path / "model.onnx"
    result = export_classifier(model, home / "kinds", images, path)
    assert result.n_bytes == path.stat().st_size
    assert result.parity.n_images == 60
    assert (result.parity.different_labels, result.parity.different_sets) == (0, 0)
    assert result.parity.max_probability_difference < 1e-6
    session = onnxruntime.InferenceSession(str(path))
    metadata = session.get_modelmeta().custom_metadata_map
    names = json.loads(metadata["names"])
    assert names == list(model.classes)
    recorded = json.loads(metadata["parity"])
    assert recorded["n_images"] == 60
    digests = "\n".join(row.digest for row in images.rows).encode()
    assert recorded["images_digest"] == hashlib.sha256(digests).hexdigest()
    about = json.loads(metadata["ilk"])
    assert about["unknown_threshold"] == model.ood_detector.threshold
    assert about["false_alarm"] == model.ood_detector.false_alarm
    assert about["coverage"] == model.conformal.level
    description = json.loads((home / "kinds" / "model.json").read_text())
    assert json.loads(metadata["ilk"])["model_digest"] == description["digest"]
    for file in sorted((home / "new").glob("*/*.jpg"))[::7]:
        pixels = np.asarray(Image.open(file).convert("RGB"))[None]
        label, p, in_set, unknown, score = (v[0] for v in session.run(None, {"pixels": pixels}))
        expected = model.predict(str(file), store=Store(home / "store.sqlite"))
        assert names[label] == expected.name
        assert p[label] == pytest.approx(expected.probability, abs=1e-6)
        assert [names[c] for c in np.argsort(-p) if in_set[c]] == list(expected.prediction_set)
        assert unknown == expected.is_unknown
        assert score == pytest.approx(expected.unknown_score, rel=1e-5)


def test_several_images_at_once_and_the_types_of_the_outputs(model):
    session = Session(build_model(model).model.SerializeToString())
    assert tuple(session.names) == OUTPUTS
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 31, 3), dtype=np.uint8)
    together = session.run(images)
    types = {name: (value.dtype.name, value.shape) for name, value in together.items()}
    assert types == {
        "label": ("int64", (3,)),
        "probabilities": ("float32", (3, 3)),
        "prediction_set": ("bool", (3, 3)),
        "unknown": ("bool", (3,)),
        "unknown_score": ("float32", (3,)),
    }
    for i, image in enumerate(images):
        alone = session.run(image[None])
        assert all((alone[name][0] == together[name][i]).all() for name in OUTPUTS)


def test_openvino_reads_the_same_file(model, images):
    openvino = pytest.importorskip("openvino")
    content = build_model(model).model.SerializeToString()
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    session = Session(content)
    for i in range(0, len(images), 6):
        pixels = images.decode(i)[None]
        answer, expected = compiled([pixels]), session.run(pixels)
        assert np.array_equal(answer["label"], expected["label"])
        np.testing.assert_allclose(
            answer["probabilities"], expected["probabilities"], rtol=0, atol=1e-3
        )


@pytest.mark.parametrize(
    "change",
    ["priors", "no ties", "no detector", "column detector", "low threshold", "every class", "ties"],
)
def test_every_way_to_decide(model, images, change):
    k = len(model.classes)
    detector, conformal = model.ood_detector, model.conformal
    score = detector.score(images.x)
    changed = {
        "priors": {"class_priors": ClassPriors(np.full(k, 1 / k), np.array([0.7, 0.2, 0.1]))},
        "no ties": {"conformal": ConformalPredictor(0.6)},
        "no detector": {"ood_detector": ColumnDetector.make_blind(detector)},
        "column detector": {"ood_detector": ColumnDetector.from_detector(detector, 0)},
        "low threshold": {"ood_detector": replace(detector, threshold=float(np.median(score)))},
        "ties": {
            "calibration": replace(model.calibration, temperature=1e-6, uniform_weight=0.0),
            "conformal": ConformalPredictor(TIE_PROBABILITY, tie_threshold=float(np.median(score))),
        },
        "every class": {"conformal": replace(conformal, threshold=0.0, tie_threshold=1e300)},
    }[change]
    classifier = replace(model, **changed)
    result = check_parity(classifier, build_model(classifier), images)
    assert result.max_probability_difference < 1e-6
    if change == "ties":  # all are sure, and the unknown score decides
        n_in_set = classifier.score_batch(images.x).prediction_sets.sum(1)
        assert n_in_set.mean() == pytest.approx(0.5, abs=0.1)
    if change == "low threshold":
        assert classifier.score_batch(images.x).is_unknown.mean() == pytest.approx(0.5, abs=0.1)


def test_an_ensemble_of_two_encoders(home, tmp_path):
    store = Store(home / "store.sqlite")
    encoders = ("pixels/6x6x3", "hog/16@resize=letterbox")
    model = fit_model(home / "photos", tmp_path / "both", store, encoders=encoders)
    if " + " not in model.encoder.name:  # the better encoder alone was chosen
        from ilk.encoders.combined import combine_encoders
        from ilk.encoders.registry import resolve_encoder

        encoder = combine_encoders(tuple(map(resolve_encoder, encoders)))
        rng = np.random.default_rng(0)
        draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
        d = encoder.space.dim
        members = (
            MemberModel(
                Linear(draw(3, d), draw(3)),
                np.array([[0, 108], [108, d]]),
                np.array([2.0, 0.7]),
                0.6,
                1.1,
                0.02,
            ),
            MemberModel(Linear(draw(3, 108), draw(3)), np.array([[0, 108]]), np.ones(1), 0.4, 2, 0),
        )
        detector = ColumnDetector.from_detector(model.ood_detector, d - 36)
        if len(detector.centre) != 36:
            detector = ColumnDetector.make_blind(model.ood_detector)
        model = replace(model, encoder=encoder, model=EnsembleModel(members), ood_detector=detector)
    images = encode_check_images(
        model, read_images(str(home / "new")), tmp_path, "new", store, limit=30
    )
    assert check_parity(model, build_model(model), images).max_probability_difference < 1e-6


def test_a_network_of_timm_and_its_views(home, model, tmp_path):
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    from ilk.encoders.registry import resolve_encoder

    folder, store = save_timm(tmp_path / "network"), Store(home / "store.sqlite")
    new = read_images(str(home / "new"))
    for settings in ("", "@resize=letterbox,views=3"):
        encoder = resolve_encoder(f"local-dir:{folder}{settings}")
        rng = np.random.default_rng(0)
        head = Linear(rng.standard_normal((3, encoder.space.dim)).astype(np.float32), np.zeros(3))
        blind = ColumnDetector.make_blind(model.ood_detector)
        other = replace(model, encoder=encoder, model=head, ood_detector=blind)
        images = encode_check_images(other, new, tmp_path, "new", store, limit=4)
        assert check_parity(other, build_model(other), images).different_labels == 0


# --- what is refused ------------------------------------------------------------------


STEPS = {
    "resizing": "the resizing for pixels/6x6x3",
    "head": "the head 'linear'",
    "calibration": "the calibration",
    "priors": "the adjustment to the class priors",
    "score": "the unknown score",
    "set": "the prediction set",
    "features": "the network of pixels/6x6x3",
}


@pytest.mark.parametrize("bug", STEPS)
def test_a_planted_bug_is_named_by_its_step(model, images, bug, monkeypatch, tmp_path):
    from ilk.export import build
    from ilk.export.encoders import pixels as pixel_writer
    from ilk.export.graphs import resize

    k = len(model.classes)
    priors = ClassPriors(np.full(k, 1 / k), np.array([0.7, 0.2, 0.1]))
    model = replace(model, class_priors=priors, conformal=ConformalPredictor(0.6))
    writers = list_part_writers()
    write_p, write_features = build.write_probabilities, pixel_writer.write_features
    if bug == "resizing":
        monkeypatch.setitem(resize.FILTERS, "bilinear", resize.FILTERS["box"])
    elif bug == "head":
        linear = writers["linear"]
        monkeypatch.setitem(writers, "linear", lambda m, x: linear(m, x) * 1.5)
    elif bug == "calibration":
        monkeypatch.setattr(build, "write_probabilities", lambda z, c, p: write_p(z * 0.5, c, p))
    elif bug == "priors":
        monkeypatch.setattr(build, "write_probabilities", lambda z, c, p: write_p(z, c, None))
    elif bug == "score":
        monkeypatch.setattr(build, "write_score", lambda x, d: x.reduce("Sum", 1, False) * 1e6)
    elif bug == "set":
        monkeypatch.setattr(build, "write_set", lambda p, s, c: p <= 0.6)
    elif bug == "features":
        monkeypatch.setattr(pixel_writer, "write_features", lambda e, p: write_features(e, p) * 1.1)
    path = tmp_path / "model.onnx"
    with pytest.raises(ArtifactError) as caught:
        export_classifier(model, tmp_path, images, path)
    assert f"the step that differs is {STEPS[bug]}" in str(caught.value)
    assert "nothing was written" in str(caught.value)
    assert not path.exists()


def test_a_value_at_its_limit_is_reported_and_not_hidden(model, images, monkeypatch):
    score = model.ood_detector.score(images.x)
    nearest = float(score[3])
    close = replace(model.ood_detector, threshold=nearest * (1 - 1e-7))
    classifier = replace(model, ood_detector=close)
    shifted = replace(model, ood_detector=replace(close, threshold=nearest * (1 + 1e-7)))
    result = check_parity(classifier, build_model(shifted), images)
    assert (result.different_unknown, result.n_near_ties) == (1, 1)
    assert result.near_ties == (images.rows[3].path,)
    assert "within rounding error of the limit" in result.sentence
    far = replace(model, ood_detector=replace(close, threshold=nearest * 1.01))
    with pytest.raises(ArtifactError, match="unknown flag"):
        check_parity(classifier, build_model(far), images)


def test_heads_and_encoders_that_onnx_cannot_express(model, images, tmp_path):
    class Odd:
        kind = "odd_head"

    with pytest.raises(InputError, match="'odd_head' of this model cannot be written as ONNX; k"):
        build_model(replace(model, model=Odd()))

    class Diffusion:
        name = "diffusion:somewhere"

    with pytest.raises(InputError, match=r"diffusion:somewhere is not a single pass .*keep using"):
        build_model(replace(model, encoder=Diffusion()))


def test_images_that_moved_are_asked_for(home, tmp_path):
    images = save_images(tmp_path / "moving", n=8)
    fit_model(images, tmp_path / "model", Store(home / "store.sqlite"))
    assert len(find_own_images(tmp_path / "model").used) == 24
    (images / "kind 0" / "0.jpg").write_bytes(b"other content")
    assert len(find_own_images(tmp_path / "model").used) == 23
    images.rename(tmp_path / "elsewhere")
    with pytest.raises(NoImages, match="--check-images"):
        find_own_images(tmp_path / "model")


# --- the runner -----------------------------------------------------------------------


def test_the_runner_needs_neither_ilk_nor_torch(home, model, images, tmp_path):
    export_classifier(model, home / "kinds", images, tmp_path / "model.onnx")
    (tmp_path / "run_model.py").write_text(read_runner())
    assert sum(1 for line in read_runner().splitlines() if line) <= 32
    grey, turned, glass = (tmp_path / n for n in ("grey.jpg", "turned.jpg", "glass.png"))
    rng = np.random.default_rng(3)
    picture = Image.fromarray(rng.integers(0, 256, (48, 30, 3), dtype=np.uint8))
    picture.convert("L").save(grey)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(turned, exif=exif)
    picture.putalpha(Image.fromarray(rng.integers(0, 256, (48, 30), dtype=np.uint8)))
    picture.save(glass)
    files = [*sorted((home / "new").glob("*/*.jpg"))[::10], grey, turned, glass]
    words, deep = tmp_path / "words.jpg", tmp_path / "deep.png"
    words.write_text("no picture")
    Image.fromarray(np.full((9, 9), 40_000, np.uint16)).save(deep)
    blocker = (
        "import sys, runpy\n"
        "class Block:\n"
        "    def find_spec(self, name, *args):\n"
        "        if name.split('.')[0] in ('ilk', 'torch', 'onnx', 'scipy', 'sklearn'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    command = [sys.executable, "-I", "-c", blocker, "run_model.py"]
    settings = {"cwd": tmp_path, "capture_output": True, "text": True}
    paths = map(str, (words, deep, "none.jpg", *files))  # files that cannot be read stop nothing
    done = subprocess.run([*command, "model.onnx", *paths], **settings)
    answer, (*refused, summary) = done.stdout.splitlines(), done.stderr.splitlines()
    assert done.returncode == 1  # as `ilk predict`, which says the same
    assert summary == f"3 of {len(files) + 3} inputs could not be read"
    assert [line.split(": ")[:2] for line in refused] == [
        [str(path), "cannot be read"] for path in (words, deep, "none.jpg")
    ]
    assert subprocess.run([*command, "model.onnx", str(grey)], **settings).returncode == 0
    for wrong, words in (
        ((), "python run_model.py model.onnx photo.jpg"),
        ((str(grey), str(turned)), f"{grey}: no file that `ilk export` wrote"),
    ):
        done = subprocess.run([*command, *wrong], **settings)
        assert (done.returncode, done.stdout) == (1, "")
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    for line, file in zip(answer, files, strict=True):
        expected = model.predict(str(file), store=Store(home / "store.sqlite"))
        p = float(line.split("  ")[1])
        assert line.startswith(f"{file}: {expected.name}  ")
        assert p == pytest.approx(expected.probability, abs=2e-3)  # Pillow decodes JPEG here
        assert line.endswith("  unknown") == expected.is_unknown


def test_metadata_can_be_replaced(model):
    import onnx

    built = build_model(model, {"further": 1})
    assert json.loads(get_metadata(built.model)["ilk"])["further"] == 1
    assert built.model.opset_import[0].version >= 18
    onnx.checker.check_model(built.model, full_check=True)
