"""A student is a model folder of its own, judged on images that it was not trained on."""

import shutil

import numpy as np
import pytest

import ilk
from ilk.artifacts.evaluation import evaluate_images
from ilk.distillation.config import DistillConfig
from ilk.distillation.distill import delete_states, distill
from ilk.distillation.teacher import load_teacher
from ilk.store import Store


@pytest.fixture
def moved(home, tmp_path):
    """The student's folder elsewhere, and no other file of it."""
    shutil.copytree(home.folder / "small", tmp_path / "elsewhere")
    return tmp_path / "elsewhere"


def test_the_student_answers_and_knows_the_digits(home):
    teacher, student, labels_alone = home.result.competitors
    assert [c.name for c in home.result.competitors] == [
        "teacher",
        "student",
        "student, labels alone",
    ]
    assert student.scores.accuracy.value > 0.8
    assert student.agreement.value > 0.8
    assert teacher.agreement.value == 1
    assert teacher.scores.n == student.scores.n == labels_alone.scores.n


def test_a_moved_folder_answers_the_same_without_its_teacher(home, moved, tmp_path):
    store = Store(tmp_path / "store.sqlite")
    classifier = ilk.load(moved)
    expected = ilk.load(home.folder / "small").predict_proba(
        str(home.folder / "new"), store=home.store
    )
    np.testing.assert_allclose(
        classifier.predict_proba(str(home.folder / "new"), store=store), expected, atol=1e-6
    )
    assert "kinds" not in (moved / "model.json").read_text()
    assert not str(classifier.encoder.describe()["folder"]).startswith(str(home.folder))


def test_the_student_does_what_its_report_says(home, moved):
    images = ilk.read(str(home.folder / "new"))
    evaluation, _, _ = evaluate_images(ilk.load(moved), images, store=home.store)
    assert evaluation.scores.accuracy.value > 0.8
    assert evaluation.coverage.value > 0.75
    assert evaluation.unknown_rate.value < 0.3
    report = (moved / "report.html").read_text()
    assert "The student beside its teacher" in report
    assert "multiply-adds" in report


def test_no_part_shares_an_image_and_the_encoder_knows_its_own(home):
    parts, encoder = home.result.parts, home.result.classifier.encoder
    digests = {
        name: [row.digest for row in getattr(parts, name)]
        for name in ("train", "validation", "calibration")
    }
    assert len(set().union(*digests.values())) == sum(map(len, digests.values())) == 360
    assert encoder.is_held_out(digests["calibration"]).all()
    assert not encoder.is_held_out(digests["train"]).any()
    assert not encoder.is_held_out(digests["validation"]).any()
    n_calibrated = home.result.classifier.calibration.n_rows
    assert n_calibrated == len(digests["calibration"])


def test_the_teacher_that_was_fitted_to_the_judged_images_is_called_optimistic(home):
    assert any("its accuracy there is optimistic" in note for note in home.result.notes)


def test_flipped_digits_are_left_out(home):
    trials = {trial.name: trial for trial in home.result.augmentations}
    assert not trials["flipped"].is_used
    assert any("flipped" in note for note in home.result.notes)


def test_the_onnx_file_answers_as_the_student(home, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from ilk.export.check_images import encode_check_images
    from ilk.export.export_file import export_classifier

    folder = home.folder / "small"
    model = ilk.load(folder)
    new = ilk.read(str(home.folder / "new"))
    images = encode_check_images(model, new, folder, "new images", home.store)
    result = export_classifier(model, folder, images, tmp_path / "student.onnx")
    assert result.parity.different_labels == 0
    assert result.parity.max_probability_difference < 1e-4
    assert result.n_bytes < 400_000


def test_a_run_that_was_interrupted_resumes_where_it_was(home, tmp_path, monkeypatch):
    from ilk.training import trainer

    teacher = load_teacher(home.folder / "kinds")
    images = ilk.read(str(home.folder / "digits"))
    config = DistillConfig("cnn-15k", updates=40, augment="none")
    starts = []

    def run(folder):
        return distill(teacher, images, folder, config, store=home.store, device="cpu")

    update = trainer._Run.update

    def stop(self, step, batch):
        starts.append(step)
        if step == 25 and len(starts) == 26:
            raise KeyboardInterrupt
        return update(self, step, batch)

    monkeypatch.setattr(trainer._Run, "update", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut")
    [state] = (tmp_path / "cut").iterdir()
    assert state.name.startswith(".ilk.distill-")
    starts.clear()
    resumed = run(tmp_path / "cut")
    assert starts[0] > 20
    whole = run(tmp_path / "whole")
    arrays = [r.classifier.encoder.checkpoint.tuned.arrays for r in (resumed, whole)]
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name], name)
    delete_states(tmp_path / "cut")
    assert not list((tmp_path / "cut").iterdir())


def test_unlabelled_images_are_learned_from_and_a_test_split_judges(home, tmp_path):
    for c in ("0", "1", "2", "7"):
        for part, source in (("train", "digits"), ("test", "new")):
            shutil.copytree(home.folder / source / c, tmp_path / "d" / part / c)
    for i, path in enumerate(sorted((tmp_path / "d" / "train" / "7").iterdir())[:30]):
        path.rename(tmp_path / "d" / "train" / f"unknown {i}.png")
    images = ilk.read(str(tmp_path / "d"))
    teacher = load_teacher(home.folder / "kinds")
    config = DistillConfig("cnn-15k", updates=20, augment="none")
    result = distill(teacher, images, tmp_path / "small", config, store=home.store, device="cpu")
    unlabelled = [row for row in result.parts.train if row.label is None]
    assert len(unlabelled) >= 20
    assert result.parts.judged == result.parts.test
    assert len(result.evaluation.y) == len(result.parts.test) > 60
    data = result.classifier.metadata["data"]
    assert (data["train"], data["held_out"]) == (len(result.parts.train), len(result.parts.test))
    assert "test split" in result.parts.judged_name


def test_a_divergence_keeps_the_last_good_state(home, tmp_path, monkeypatch):
    from ilk.training.objectives.kd import KD

    forward = KD.forward

    def diverge(self, network, batch, step):
        loss = forward(self, network, batch, step)
        return loss * float("nan") if step.index == 30 else loss

    monkeypatch.setattr(KD, "forward", diverge)
    teacher = load_teacher(home.folder / "kinds")
    images = ilk.read(str(home.folder / "digits"))
    config = DistillConfig("cnn-15k", updates=60, augment="none")
    result = distill(teacher, images, tmp_path / "s", config, store=home.store, device="cpu")
    assert any("not finite" in note and "was kept" in note for note in result.notes)
    assert np.isfinite(result.classifier.model.weight).all()
