"""What is said of a student beside its teacher, and what it is made for: figures by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ilk.core.errors import InputError
from ilk.core.metrics import wilson_interval
from ilk.distillation import distill as command
from ilk.distillation import network_cost, teacher, train
from ilk.distillation.augmentation_choice import make_augmentations
from ilk.distillation.comparison import (
    STUDENT,
    TEACHER,
    compare,
    describe_reduction,
)
from ilk.distillation.config import DistillConfig
from ilk.distillation.network_cost import Cost, measure_seconds
from ilk.distillation.pixels import Reader
from ilk.distillation.students import MEAN, STD, Student, open_student
from ilk.distillation.training_data import TrainingData, keep_labelled
from ilk.hub.preprocessing import Preprocess
from ilk.images import Images
from ilk.images.rows.row import Row
from ilk.training.augmentations import Shift
from ilk.training.batch import Batch


def make_answers(classes, k=3):
    return 0.8 * np.eye(k)[classes] + 0.2 / k


def make_row(name, answers, expected, y, cost=(1000, 4000, 5000), seconds=0.002, groups=None):
    p, t = make_answers(answers), make_answers(expected)
    return compare(name, "x", p, t, np.array(y), groups, Cost(*cost), seconds)


def test_agreement_is_with_the_teacher_and_accuracy_with_the_labels():
    student = make_row(STUDENT, [0, 1, 1, 2], [0, 1, 2, 2], [0, 0, 0, 0])
    assert student.agreement.value == 0.75
    assert student.scores.accuracy.value == 0.25
    cells = student.format_cells()
    assert cells[4:] == ("1k", "4k", "5k", "2")  # milliseconds
    assert make_row(TEACHER, [0], [0], [0]).format_cells()[3] == ""


def test_images_of_a_group_are_right_together():
    answers, y = np.repeat([0, 0, 0, 1], 10), np.zeros(40, int)
    apart = make_row(STUDENT, answers, answers, y)
    together = make_row(STUDENT, answers, answers, y, groups=np.repeat(np.arange(4), 10))
    assert apart.scores.accuracy.low == pytest.approx(wilson_interval(30, 40).low)
    assert together.scores.accuracy.value == 0.75
    assert together.scores.accuracy.low < 0.3
    assert together.agreement.low == pytest.approx(wilson_interval(4, 4).low)


def test_how_much_smaller_and_faster_in_words():
    def make(name, *values):
        return make_row(name, [0], [0], [0], (values[0], 1, values[1]), values[2])

    words = describe_reduction([make(TEACHER, 3000, 500, 0.01), make(STUDENT, 1000, 1000, 0.002)])
    assert words.endswith("3 times smaller, 2 times more multiply-adds, 5 times faster")
    unknown = make(TEACHER, None, None, None)
    assert describe_reduction([unknown, make(STUDENT, 10, 10, 0.1)]) == ""


def test_seconds_are_those_of_one_image(monkeypatch):
    asked = []
    classifier = SimpleNamespace(
        encoder=SimpleNamespace(embed=len), score_batch=lambda n: asked.append(n)
    )
    monkeypatch.setattr(
        network_cost, "time_in_turns", lambda tasks, *_a, **_k: [t() or 6.0 for t in tasks]
    )
    pixels = [np.zeros((4, 3, 2, 2)), np.zeros((12, 3, 2, 2))]
    assert measure_seconds([classifier, classifier], pixels) == [1.5, 0.5]
    assert asked == [1, 1, 4, 12]


@pytest.mark.parametrize(("n", "is_allowed"), [(14_000, False), (15_000, True)])
def test_a_student_is_no_larger_than_its_teacher(n, is_allowed):
    student = Student("cnn-15k", 1, Preprocess((28, 28), (28, 28), "squash", "bilinear", MEAN, STD))
    known = SimpleNamespace(classes=("a", "b"), members=(None,))
    cost = Cost(n, 1, 1)
    command._check_size(student, known, cost, force=True)
    command._check_size(student, known, Cost(None, None, None), force=False)
    if is_allowed:
        command._check_size(student, known, cost, force=False)
        return
    with pytest.raises(InputError, match=r"has 1\d,\d\d\d parameters and the teacher 14,000"):
        command._check_size(student, known, cost, force=False)


def make_rows(*sizes, mode="L"):
    return [Row(f"{i}.png", width=w, height=h, mode=mode) for i, (w, h) in enumerate(sizes)]


def test_the_size_of_a_student_is_that_of_the_images():
    config = DistillConfig("cnn-15k")
    found = open_student(config, make_rows((40, 60), (60, 40), (41, 100)))
    assert found.preprocess.size == (40, 40)
    assert open_student(config, make_rows((300, 400))).preprocess.size == (96, 96)
    assert open_student(config, make_rows((0, 0))).preprocess.size == (96, 96)
    wide = DistillConfig("cnn-15k", image_size=20)
    assert open_student(wide, make_rows((300, 400))).preprocess.size == (20, 20)


def test_one_coloured_image_makes_a_student_of_colours():
    config, grey, coloured = (
        DistillConfig("cnn-15k"),
        make_rows((32, 32)),
        make_rows((32, 32), mode="RGB"),
    )
    channels = [
        open_student(config, rows).channels for rows in (grey, coloured, grey + coloured, [])
    ]
    assert channels == [1, 3, 3, 3]


def test_the_margin_of_a_pretrained_student_stays():
    from ilk.distillation.students import _resize

    resized = _resize(Preprocess((224, 224), (256, 256), "crop", "bicubic", MEAN, STD), 112)
    assert (resized.size, resized.scale) == ((112, 112), (128, 128))


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_is_what_pillow_makes_of_colours(channels):
    student = Student(
        "cnn-15k", channels, Preprocess((4, 4), (4, 4), "squash", "bilinear", MEAN, STD)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    found = Reader(Images(None, ()), student).prepare(image)
    expected = np.asarray(image.convert("L"))[None] if channels == 1 else pixels.transpose(2, 0, 1)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_shifts_are_a_part_of_the_side():
    student = Student("cnn-15k", 1, Preprocess((60, 60), (60, 60), "squash", "bilinear", MEAN, STD))
    assert make_augmentations([], student, 2, 10) == [Shift(4, "edge")]


def test_all_images_are_asked_about_in_blocks(monkeypatch):
    monkeypatch.setattr(teacher, "BLOCK", 3)
    blocks = []

    def score(x):
        blocks.append(len(x))
        return SimpleNamespace(probabilities=np.stack([x, 1 - x], 1))

    model = SimpleNamespace(classes="ab", encoder=SimpleNamespace(space="s"), score_batch=score)
    store = SimpleNamespace(get=lambda _s, digests: np.array([float(d) for d in digests]))
    rows = [Row("", digest=str(i / 8)) for i in range(8)]
    p = teacher.compute_probabilities(model, rows, store)
    assert p[:, 0].tolist() == [i / 8 for i in range(8)]
    assert blocks == [3, 3, 2]


def test_which_judged_images_the_teacher_has_seen():
    digests = [f"{i:064x}" for i in range(6)]
    rows = [Row("", "a", "test" if i > 3 else "train", digest=d) for i, d in enumerate(digests)]
    images = Images(None, tuple(rows))
    encoder = SimpleNamespace(name="pixels", parts=())

    def describe(judged, fingerprint="", kept=None):
        neighbours = None if kept is None else lambda: SimpleNamespace(digests=kept)
        metadata = {"data": {"fingerprint": fingerprint}}
        model = SimpleNamespace(encoder=encoder, metadata=metadata, neighbours=neighbours)
        return teacher.describe_seen(model, images, judged)

    same = teacher.fingerprint_images(images)
    assert describe(rows[:4], same).startswith("the teacher was fitted to all 4 images")
    assert describe(rows[2:], same).startswith("the teacher was fitted to at least 2 of the 4")
    assert describe(rows[4:], same) == ""  # a test split is never fitted to
    assert describe(rows) == ""
    assert "at least 1 of the 6" in describe(rows, kept=[digests[5], "ff"])


def run_training(monkeypatch, config=DistillConfig(), start=""):  # noqa: B008
    """Return what the trainer is given: recipe and validation."""
    from ilk.training import trainer

    student = Student(
        "cnn-15k", 1, Preprocess((8, 8), (8, 8), "squash", "bilinear", MEAN, STD), start
    )
    monkeypatch.setattr(Student, "build", lambda *_: torch.nn.Linear(1, 1))
    given = SimpleNamespace()

    def run(network, source, objective, recipe, device, checkpoint, validation):
        given.recipe, given.validation = recipe, validation
        validation.on_finish(None)
        return network

    monkeypatch.setattr(trainer, "train", run)
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    pixels = np.clip(60 + 120 * y[:, None, None, None] + rng.normal(0, 70, (40, 1, 8, 8)), 0, 255)
    part = train.ValidationPart(pixels.astype(np.uint8), y)
    train.train_student(student, 2, [0] * 6400, None, (), part, config, device="cpu")
    return given


class Brightness(torch.nn.Module):
    """Logits by brightness, times a weight."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight))

    def forward(self, x):
        mean = self.weight * x[:, 0, 0, 0]
        return torch.stack([-mean, mean], 1)


def test_the_measure_is_higher_for_a_better_network_whatever_its_temperature(monkeypatch):
    measure = run_training(monkeypatch).validation.measure
    right, sharper, useless, wild = (measure(Brightness(w)) for w in (1.0, 9.0, -1.0, np.inf))
    assert right > useless + 0.05
    assert right == pytest.approx(sharper, abs=1e-3)
    assert useless == pytest.approx(-np.log(2), abs=1e-3)
    assert np.isnan(wild)


def test_the_length_and_the_rate_of_a_training(monkeypatch):
    recipe = run_training(monkeypatch).recipe
    assert (recipe.steps, recipe.batch_size, recipe.lr) == (3000, 64, 0.01)  # 30 rounds of 6400
    assert run_training(monkeypatch, start="efficientnet-lite0").recipe.lr == 0.001
    config = DistillConfig(updates=80, lr=0.5, patience=4, seed=3)
    given = run_training(monkeypatch, config)
    assert (given.recipe.steps, given.recipe.lr, given.recipe.seed) == (80, 0.5, 3)
    assert (given.validation.patience, given.validation.interval) == (4, 2)
    counts = [train.count_updates(DistillConfig(), n) for n in (10, 64_000, 10**7)]
    assert counts == [1000, 30_000, 30_000]


class Streamed:
    """A source that is not in memory."""

    def __len__(self):
        return 5

    def take(self, rows, device):
        return Batch(rows[:, None].float(), rows % 2, rows)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_labels_alone_are_those_of_labelled_images(is_streamed):
    rows = tuple(Row(f"{i}", None if i in (1, 3) else "ab"[i % 2]) for i in range(5))
    parts = SimpleNamespace(
        train=rows, encode_labels=lambda r: np.array([-1 if x.label is None else 0 for x in r])
    )
    source = Streamed() if is_streamed else Batch(torch.arange(5.0)[:, None], torch.zeros(5))
    data = TrainingData(None, parts, source, None, [], None, ())
    kept = keep_labelled(data).source
    if is_streamed:
        drawn = torch.cat([kept.sampler.draw(step, 2, 0) for step in range(30)])
        assert set(drawn.tolist()) == {0, 2, 4}
    else:
        assert kept.x[:, 0].tolist() == [0, 2, 4]


def test_a_state_belongs_to_one_training(tmp_path):
    def find(what="student", logits=0.0, **settings):
        rows = (Row("a", "a", digest="0"),)
        parts = SimpleNamespace(train=rows, validation=())
        student = SimpleNamespace(name="s", settings={})
        data = SimpleNamespace(teacher_logits=np.full((1, 2), logits), parts=parts, student=student)
        run = SimpleNamespace(config=DistillConfig(**settings), folder=tmp_path, weights=None)
        return command._Run._find_state(run, data, what)

    found = [find(), find("labels"), find(logits=1.0), find(updates=7), find(loss="MEAL")]
    assert len(set(found)) == 5
    assert find() == found[0]
    assert found[0].name.startswith(".ilk.distill-")
