"""Teachers of every kind: ensembles, views of networks, students themselves, diffusion models."""

from importlib.util import find_spec

import numpy as np
import pytest

import ilk
from distillation.conftest import CLASSES
from helpers.digit_folders import write_digits
from helpers.tiny_checkpoints import save_timm
from ilk.distillation.augmentation_choice import (
    FLIP,
    ROTATE,
    make_augmentations,
    try_augmentations,
)
from ilk.distillation.config import DistillConfig
from ilk.distillation.distill import distill
from ilk.distillation.network_cost import count_multiply_adds, measure_cost
from ilk.distillation.parts import divide_images
from ilk.distillation.students import MEAN, STD, Student
from ilk.distillation.teacher import compute_probabilities, load_teacher, to_logits
from ilk.distillation.teachers import Teachers
from ilk.hub.preprocessing import Preprocess
from ilk.store import Store

QUICK = DistillConfig("cnn-15k", updates=6, augment="none")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    write_digits(folder / "digits", dict.fromkeys(CLASSES, 60))
    return folder


def teach(folder, name, config=QUICK, **settings):
    """Fit a teacher, save and load it, and return it with what a student learned."""
    store = Store(folder / "store.sqlite")
    images = ilk.read(str(folder / "digits"))
    ilk.fit(images, store=store, **settings).save(folder / name)
    teacher = load_teacher(folder / name, device="cpu", runtime="torch")
    out = folder / f"{name}-student"
    return teacher, distill(teacher, images, out, config, store=store, device="cpu", force=True)


def test_an_ensemble_of_encoders(folder):
    _, result = teach(folder, "both", encoders=("pixels/8x8x1", "hog"), methods=("GDA",))
    assert result.competitors[1].scores.n == len(result.parts.calibration)
    assert result.competitors[0].cost.parameters > 0


def test_a_network_and_its_views(folder):
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    name = f"local-dir:{save_timm(folder / 'network')}"
    costs = {}
    for views in ("", "@views=2"):
        teacher, result = teach(
            folder, f"views{views[-1:]}", encoders=(name + views,), methods=("GDA",), resize="crop"
        )
        costs[views] = measure_cost(teacher)
        assert result.competitors[0].cost == costs[views]
    checkpoint = getattr(teacher.encoder, "base", teacher.encoder).checkpoint
    network = checkpoint.build_network()
    once = count_multiply_adds(network, (3, *checkpoint.preprocess.size))
    assert costs["@views=2"].multiply_adds - costs[""].multiply_adds == once
    assert costs["@views=2"].parameters == costs[""].parameters
    assert costs[""].parameters > sum(p.numel() for p in network.parameters())


def test_a_student_can_teach(folder):
    _, result = teach(folder, "pixels", encoders=("pixels/8x8x1",), methods=("GDA",))
    result.classifier.save(folder / "first")
    teacher = load_teacher(folder / "first", device="cpu", runtime="torch")
    images = ilk.read(str(folder / "digits"))
    store = Store(folder / "store.sqlite")
    second = distill(teacher, images, folder / "second", QUICK, store=store, device="cpu")
    assert second.competitors[0].cost == second.competitors[1].cost
    assert any("was fitted to all" in note for note in second.notes)


def test_a_diffusion_model_can_teach(folder, monkeypatch):
    from click.testing import CliRunner

    from cli.test_diffusion import CHEAP
    from ilk.cli import pretrain

    monkeypatch.setenv("ILK_STORE", str(folder / "store.sqlite"))
    arguments = [str(folder / "digits"), "--out", str(folder / "diffusion"), *CHEAP]
    outcome = CliRunner().invoke(pretrain.command, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    _, result = teach(
        folder, "d", encoders=(f"diffusion:{folder / 'diffusion'}",), methods=("GDA",)
    )
    cost = result.competitors[0].cost
    assert cost.parameters > 1000
    assert cost.multiply_adds is None  # a diffusion model is not a single pass
    assert result.competitors[0].format_cells()[6] == "?"


def test_answers_are_those_of_the_teacher_and_finite(home):
    teacher = load_teacher(home.folder / "kinds")
    rows = home.result.parts.calibration
    probabilities = compute_probabilities(teacher, rows, home.store)
    paths = [str(home.folder / "digits" / row.path) for row in rows]
    expected = teacher.predict_proba(paths, store=home.store)
    np.testing.assert_allclose(probabilities, expected, atol=1e-12)
    logits = to_logits(np.array([[1.0, 0.0]]))
    assert np.isfinite(logits).all()
    np.testing.assert_allclose(np.exp(to_logits(probabilities)), probabilities, atol=1e-6)


def test_the_teacher_is_asked_about_changed_images(home):
    teacher = load_teacher(home.folder / "kinds")
    images = ilk.read(str(home.folder / "digits"))
    parts = divide_images(images, teacher, 0.2, 0)
    y = parts.encode_labels(parts.train)
    trials = try_augmentations(Teachers.of(teacher), images, parts.train, y, 0)
    assert [c.name for c in trials] == ["flipped", "rotated and scaled"]
    again = try_augmentations(Teachers.of(teacher), images, parts.train, y, 0)
    assert trials == again
    assert trials[0].accuracy < 0.9


def test_a_student_with_two_images_for_each_weight_sees_flipped_ones_alone():
    student = Student("cnn-15k", 1, Preprocess((28, 28), (28, 28), "squash", "bilinear", MEAN, STD))
    weights = sum(p.numel() for p in student.build(10, 0).parameters())

    def name_kinds(names, n):
        return [type(a).__name__ for a in make_augmentations(names, student, 10, n)]

    assert name_kinds((FLIP, ROTATE), 2 * weights - 1) == ["Shift", "Flip", "RotateAndScale"]
    assert name_kinds((), 2 * weights - 1) == ["Shift"]
    assert name_kinds((FLIP, ROTATE), 2 * weights) == ["Flip"]
    assert name_kinds((ROTATE,), 2 * weights) == []


def test_groups_stay_together(home, tmp_path):
    import shutil
    from dataclasses import replace

    shutil.copytree(home.folder / "digits", tmp_path / "d")
    images = ilk.read(str(tmp_path / "d"))
    rows = tuple(replace(row, group=f"g{i // 6}") for i, row in enumerate(images.rows))
    teacher = load_teacher(home.folder / "kinds")
    parts = divide_images(replace(images, rows=rows), teacher, 0.2, 0)
    groups = [
        {row.group for row in part} for part in (parts.train, parts.validation, parts.calibration)
    ]
    assert sum(map(len, groups)) == len(set().union(*groups))


@pytest.mark.parametrize("size", [0, 32])
def test_a_pretrained_student_starts_from_its_weights(home, size):
    import torch

    from ilk.distillation.students import open_student
    from ilk.encoders import resolve_encoder

    images = ilk.read(str(home.folder / "new"))
    student = open_student(DistillConfig("efficientnet-lite0", image_size=size), images.used)
    network = student.build(3, 0)
    expected = resolve_encoder("efficientnet-lite0").checkpoint.build_network()
    assert student.preprocess.size == ((224, 224) if not size else (32, 32))
    assert torch.equal(network.blocks[3].bn1.running_var, expected.blocks[3].bn1.running_var)
    assert network.fc.out_features == 3
