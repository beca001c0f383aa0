"""What a condensed set loses: paired, and no surer where images come in groups."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ilk.core.errors import InputError
from ilk.subset_selection import condense, judgement
from ilk.subset_selection.condense import divide_held_out
from ilk.subset_selection.judgement import compare


def test_the_gap_is_the_few_minus_all():
    y = np.arange(40) % 2
    worse = np.where(np.arange(40) < 10, 1 - y, y)
    judged = compare(y, y, worse, np.full(40, -1))
    assert (judged.of_all.value, judged.of_few.value) == (1.0, 0.75)
    assert judged.gap.value == -0.25
    assert judged.gap.high < 0


def test_images_of_a_group_count_once():
    rng = np.random.default_rng(0)
    y = np.zeros(50, np.int64)
    all_, few = (rng.random(50) > 0.9).astype(int), (rng.random(50) > 0.7).astype(int)
    alone = compare(y, all_, few, np.full(50, -1))
    tenfold = [np.repeat(a, 10) for a in (y, all_, few)]
    together = compare(*tenfold, np.repeat(np.arange(50), 10))
    for name in ("of_all", "of_few", "gap"):
        one, other = getattr(alone, name), getattr(together, name)
        assert other.value == pytest.approx(one.value)
        assert other.high - other.low == pytest.approx(one.high - one.low, rel=0.05)


def test_no_group_chooses_and_judges():
    y, groups = np.tile([0, 1], 60), np.arange(120) // 6
    is_held = groups < 6
    chooses, judges = divide_held_out(y, groups, is_held, 0)
    assert set(chooses) | set(judges) == set(np.flatnonzero(is_held))
    assert not set(groups[chooses]) & set(groups[judges])
    with pytest.raises(InputError, match=r"4 groups of images are too few.* 10 groups or more"):
        divide_held_out(y, np.arange(120) // 30, np.arange(120) < 30, 0)


def test_no_more_than_a_bound_is_held_out(monkeypatch):
    monkeypatch.setattr(condense, "MAX_HELD_OUT", 30)
    held = condense.hold_out(np.arange(500) % 2, np.full(500, -1), 0)
    assert held.sum() == 30


def test_both_classifiers_are_trained_alike(monkeypatch):
    """On all images with more updates; chosen images keep their own features."""
    trained, fitted = [], []
    y = torch.arange(8) % 2
    problem = SimpleNamespace(
        x=torch.zeros(8, 1, 2, 2), y=y, n_classes=2, features=np.arange(8.0)[:, None]
    )
    few = SimpleNamespace(x=problem.x[5:7], y=y[5:7], rows=np.array([5, 6]), synthetic=False)
    monkeypatch.setattr(
        judgement, "train_network", lambda *a, **_: trained.append((len(a[1]), a[3]))
    )
    monkeypatch.setattr(judgement, "predict_classes", lambda *_: np.zeros(8, int))

    def fit(x, labels, _k):
        fitted.append((x[:, 0].tolist(), labels.tolist()))
        return lambda features: np.zeros(len(features), int)

    monkeypatch.setattr(judgement, "fit_head", fit)
    own = np.full(8, -1)
    judgement.judge_network(problem, few, 10, None, problem.x, y.numpy(), own)
    assert [(n, training.updates) for n, training in trained] == [(8, 30), (2, 10)]
    judgement.judge_head(problem, few, None, None, problem.features, y.numpy(), own)
    assert fitted == [(list(range(8)), [0, 1] * 4), ([5.0, 6.0], [1, 0])]


def test_the_method_that_trains_the_best_network_is_taken_real_images_first(monkeypatch):
    rates = {"a": 0.5, "b": 0.9, "c": 0.9}
    y = np.zeros(10, int)

    class Method:
        def __init__(self, name):
            self.name, self.synthetic = name, name == "b"

        def condense(self, _problem, _run):
            return SimpleNamespace(name=self.name, synthetic=self.synthetic)

    def predict(_problem, few, _config, _run, _name, _x):
        return (np.arange(10) >= 10 * rates[few.name]).astype(int)

    monkeypatch.setattr(condense, "_train_and_predict", predict)
    config = SimpleNamespace(list_methods=lambda: {name: Method(name) for name in rates})
    problem = SimpleNamespace(check_enough=lambda: None)
    few, scores, name = condense._choose(problem, config, None, None, y, np.full(10, -1))
    assert (few.name, name) == ("c", "c")
    assert {n: s.value for n, s in scores.items()} == rates


def test_synthetic_images_are_numbered_by_class():
    rows = [SimpleNamespace(digest=str(i)) for i in range(4)]
    images = SimpleNamespace(shown_path_of=lambda row: f"{row.digest}.png")
    x = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    few = SimpleNamespace(
        x=x, y=torch.tensor([0, 0, 1, 1]), rows=np.array([3, 1, 0, 2]), synthetic=True
    )
    made = [condense._describe_image(images, rows, few, i, ("a", "b")) for i in range(4)]
    assert [(m.label, m.name) for m in made] == [
        *(("a", "0001.png"), ("a", "0002.png"), ("b", "0001.png"), ("b", "0002.png"))
    ]
    assert [m.digest for m in made] == ["3", "1", "0", "2"]
    assert all(m.synthetic for m in made)
