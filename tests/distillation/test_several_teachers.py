"""Several teachers: what they say together, how they are weighted, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

import ilk
from helpers.digit_folders import write_digits
from ilk.cli.distill import command
from ilk.core.errors import InputError
from ilk.distillation import distill as module
from ilk.distillation.config import DistillConfig
from ilk.distillation.distill import distill
from ilk.distillation.losses import parse_loss
from ilk.distillation.network_cost import measure_cost
from ilk.distillation.parts import divide_images
from ilk.distillation.teacher import compute_probabilities
from ilk.distillation.teachers import Teachers
from ilk.ranking import parc

QUICK = DistillConfig("cnn-15k", updates=4, augment="none", seed=1)


@pytest.fixture(scope="module")
def world(home):
    """The digits, a good teacher, and one of pixels of another size that knows them backwards."""
    images = ilk.read(str(home.folder / "digits"))
    good = ilk.load(home.folder / "kinds")
    names = {name: str(9 - i) for i, name in enumerate(good.classes)}
    rows = tuple(replace(r, label=names[str(r.label)]) for r in images.rows)
    options = {"encoders": ("pixels/2x2x1",), "methods": ("GDA",), "store": home.store}
    fitted = ilk.fit(replace(images, rows=rows), **options)
    back = {other: name for name, other in names.items()}
    poor = replace(fitted, classes=tuple(back[name] for name in fitted.classes))
    assert poor.classes == tuple(reversed(good.classes))
    return home, images, good, poor


@pytest.fixture(scope="module")
def other(home, tmp_path_factory):
    """A teacher of other digits."""
    folder = write_digits(tmp_path_factory.mktemp("other") / "d", dict.fromkeys("3456", 40))
    options = {"encoders": ("pixels/8x8x1",), "methods": ("GDA",)}
    return ilk.fit(str(folder), store=home.store, **options)


def run(world, teachers, folder, config=QUICK):
    home, images, *_ = world
    return distill(teachers, images, folder, config, store=home.store, device="cpu")


def test_the_mean_of_calibrated_probabilities_is_in_the_order_of_the_first(world):
    home, images, good, poor = world
    rows = images.used[::20]
    teachers = Teachers.of([good, poor])
    p, q = (compute_probabilities(t, rows, home.store) for t in (good, poor))
    answers = teachers.answer(rows, home.store)
    np.testing.assert_allclose(teachers.mix(answers), (p + q[:, ::-1]) / 2)
    np.testing.assert_allclose(teachers.mix(answers, [3, 1]), (3 * p + q[:, ::-1]) / 4)
    np.testing.assert_allclose(teachers.mix(answers).sum(1), 1)


@pytest.mark.parametrize("loss", ["KD", "MEAL(discriminator='none')", "DualHead"])
def test_their_mean_teaches_where_the_loss_takes_one_teacher(world, tmp_path, monkeypatch, loss):
    home, _, good, poor = world
    given, objective = [], module._make_objective

    def watch(run, loss, data):
        given.append(data)
        return objective(run, loss, data)

    monkeypatch.setattr(module, "_make_objective", watch)
    run(world, [good, poor], tmp_path / "s", replace(QUICK, loss=loss))
    [data] = given
    teachers = Teachers.of([good, poor])
    mean = teachers.mix(teachers.answer(data.parts.train, home.store))
    [logits] = data.teacher_logits
    np.testing.assert_allclose(np.exp(logits), mean, atol=1e-6)


def test_the_table_has_a_line_for_each_and_one_for_all(world, tmp_path):
    _, _, good, poor = world
    result = run(world, [good, poor], tmp_path / "s")
    names = [row.name for row in result.competitors]
    assert names == ["teacher 1", "teacher 2", "teachers together", "student"]
    first, second, together, _ = result.competitors
    assert first.scores.accuracy.value > second.scores.accuracy.value
    assert first.cost == measure_cost(good)
    values = [c.cost.parameters for c in (first, second, together)]
    assert values[2] == values[0] + values[1]
    assert together.agreement.value == 1
    assert second.agreement.value < 1
    assert together.seconds == pytest.approx(first.seconds + second.seconds)
    seen = [note for note in result.notes if "was fitted to" in note]
    assert [note.split(" was")[0] for note in seen] == ["teacher 1", "teacher 2"]
    assert any("than" in n or "compared with its teachers together" in n for n in result.notes)
    result.classifier.save(tmp_path / "s")
    report = (tmp_path / "s" / "report.html").read_text()
    assert "The student beside its teachers" in report
    assert all(name in report for name in names)


def test_an_encoder_that_two_share_counts_once(world):
    _, _, good, _ = world
    one, two = measure_cost(good), measure_cost(good, good)
    assert two.parameters == 2 * one.parameters  # pixels have no weights: two models
    assert two.multiply_adds == 2 * one.multiply_adds


def test_a_near_teacher_weighs_more(world, tmp_path):
    home, _, good, poor = world
    config = replace(QUICK, loss="SimilarSources")
    result = run(world, [poor, good], tmp_path / "s", config)
    [note] = [note for note in result.notes if note.startswith("weight of each teacher")]
    rows = [row for row in result.parts.train if row.label is not None]
    y = result.parts.encode_labels(tuple(rows))
    similarity = [
        parc.score(home.store.get(t.encoder.space, [r.digest for r in rows]), y)
        for t in (poor, good)
    ]
    alpha = np.array(similarity) ** 4 / np.sum(np.array(similarity) ** 4)
    assert alpha[1] > alpha[0]
    for i in range(2):
        assert f"teacher {i + 1} {alpha[i]:.2f} ({similarity[i]:.2f})" in note


def test_weights_that_are_set_are_used(world, tmp_path):
    _, _, good, poor = world
    config = replace(QUICK, loss="SimilarSources(weights=(1, 0))")
    result = run(world, [good, poor], tmp_path / "s", config)
    assert any("as set: teacher 1 1.00, teacher 2 0.00" in note for note in result.notes)
    assert result.competitors[2].scores == result.competitors[0].scores
    with pytest.raises(InputError, match="one for each of 2 source models"):
        run(
            world, [good, poor], tmp_path / "t", replace(config, loss="SimilarSources(weights=[1])")
        )


def test_similarity_is_measured_on_images_that_no_network_was_trained_on(world, monkeypatch):
    home, images, good, poor = world
    parts = divide_images(images, good, 0.2, 0)
    teachers = Teachers.of([good, poor])
    counts, score = [], parc.score
    monkeypatch.setattr(parc, "score", lambda x, y: counts.append(len(y)) or score(x, y))

    def know(known):
        def is_held_out(_encoder, rows):
            return np.arange(len(rows)) >= known

        monkeypatch.setattr("ilk.distillation.teachers.is_held_out", is_held_out)

    n = len(parts.train)
    for known, expected in ((0, n), (n // 8, n - n // 8), (n - 5, n)):
        know(known)
        teachers.measure_similarities(parts, home.store)
        assert counts[-2:] == [expected] * 2
    alone = replace(parts, train=tuple(r for r in parts.train if r.label == "0"))
    assert teachers.measure_similarities(alone, home.store) is None


def test_other_classes_are_refused_unless_the_loss_has_heads_for_them(world, other, tmp_path):
    _, _, good, _ = world
    with pytest.raises(
        InputError,
        match=r"teacher 2 lacks '0', '1', '2', '7' and also has '3', '4', '5', '6', compared with",
    ):
        run(world, [good, other], tmp_path / "s")
    config = replace(QUICK, loss="SimilarSources")
    result = run(world, [good, other], tmp_path / "s", config)
    first, second, together, _ = result.competitors
    assert second.scores is None
    assert second.format_cells()[1:4] == ("", "", "")
    assert second.to_json()["agreement"] is None
    assert together.scores == first.scores
    result.classifier.save(tmp_path / "s")
    leaderboard = json.loads((tmp_path / "s" / "leaderboard.json").read_text())
    assert "teacher 2" not in json.dumps(leaderboard)
    with pytest.raises(InputError, match="there is no teacher"):
        run(world, [], tmp_path / "s")


def test_images_that_teachers_read_differently_are_refused(world, monkeypatch):
    home, images, good, poor = world
    ranged = replace(poor, metadata={**poor.metadata, "value_ranges": {"I;16": [0, 9]}})
    teachers = Teachers.of([good, ranged])
    assert teachers.use_ranges(images, home.store).rows == images.rows  # 8 bits have no range

    def use_ranges(images, ranges, *_):
        rows = tuple(replace(r, digest=f"{len(ranges)}{r.digest}") for r in images.rows)
        return replace(images, rows=rows)

    monkeypatch.setattr("ilk.distillation.teachers.use_ranges", use_ranges)
    with pytest.raises(InputError, match="with different value ranges"):
        teachers.use_ranges(images, home.store)


def test_a_run_of_other_teachers_or_weights_is_not_gone_on_with(world, tmp_path, monkeypatch):
    _, _, good, poor = world
    states, train = [], module.train_student

    def watch(*args, **options):
        states.append(options["state"].name)
        return train(*args, **options)

    monkeypatch.setattr(module, "train_student", watch)
    kinds = ([good], [good, poor], [poor, good])
    for i, teachers in enumerate((*kinds, kinds[1])):
        run(world, teachers, tmp_path / str(i))
    for loss in ("SimilarSources", "SimilarSources(power=0)"):
        run(world, kinds[1], tmp_path / loss, replace(QUICK, loss=loss))
    assert states[1] == states[3]
    assert len({*states[:3], *states[4:]}) == 5


def test_settings_of_sources_by_name():
    loss = parse_loss("SimilarSources(power=2, label_weight=0.3)")
    assert loss.needs_similarities
    assert not parse_loss("SimilarSources(weights=(1, 2))").needs_similarities
    assert not parse_loss("KD").takes_sources
    for text in ("SimilarSources(similarities=(1,))", "SimilarSources(power=-1)"):
        with pytest.raises(InputError):
            parse_loss(text)


def test_the_command_takes_several(world, tmp_path, capsys, monkeypatch):
    home, _, _, poor = world
    monkeypatch.setenv("ILK_STORE", str(home.store.path))
    second = poor.save(tmp_path / "second")
    args = [str(home.folder / "kinds"), str(home.folder / "digits"), "--out", str(tmp_path / "s")]
    quick = ["--student", "cnn-15k", "--updates", "2", "--augment", "none", "--device", "cpu"]

    def distil(*teachers):
        pairs = [word for t in teachers for word in ("--teacher", str(t))]
        command.main([*args, *pairs, *quick], standalone_mode=False, obj=())

    with pytest.raises(InputError, match="is named twice"):
        distil(second, home.folder / "kinds")
    distil(second)
    output = " ".join(capsys.readouterr().out.split())
    assert "teacher 2" in output
    assert "same prediction as the teachers together" in output
    args[3] = str(second)
    with pytest.raises(InputError, match="would replace its teacher"):
        distil(second)
