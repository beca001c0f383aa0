"""The benchmark of similar teachers gives every arm the same rows, updates and batches."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from benchmarks.similar_teachers import run, sources, target
from benchmarks.student_networks import ConvNet
from ilk.core.data import Data
from ilk.training.batch import Batch
from ilk.training.losses import cross_entropy


@pytest.fixture
def _drawn_data(monkeypatch):
    """Classes of noise around a picture each, in place of the shared data."""

    def read(_part="train"):
        draw = np.random.default_rng(0)
        y = np.arange(300) % 10
        x = draw.random((10, 784))[y] + 0.1 * draw.standard_normal((300, 784))
        return Data(x.astype(np.float32), y, tuple(map(str, range(10))))

    readers = {name: (read, classes) for name, (_, classes) in sources.SOURCES.items()}
    monkeypatch.setattr(sources, "SOURCES", readers)
    targets = {name: (read, classes) for name, (_, classes) in target.TARGETS.items()}
    monkeypatch.setattr(target, "TARGETS", targets)


@pytest.mark.usefixtures("_drawn_data")
def test_every_arm_is_reported_and_the_oracle_is_the_best_source():
    result = run.run(small=True)
    assert result["left out"] == []
    for table in result["tables"]:
        scores = {s["method"]: s["score"]["mean"] for s in table["scores"]}
        assert len(scores) == 8
        assert scores[run.ORACLE] >= max(scores[run.NEAREST], scores[run.WORST])
    for detail in result["targets"].values():
        assert len(detail["sources"]) == 6


@pytest.mark.usefixtures("_drawn_data")
def test_a_target_has_few_labels_of_each_class():
    found = sources.train_sources(small=True)
    task = target.Target.load("USPS", found, 0, small=True)
    assert torch.bincount(task.rows.y[task.rows.y >= 0]).tolist() == [5] * 10
    assert int((task.rows.y < 0).sum()) == 100
    assert [len(a) for a in task.answers] == [150] * 6
    assert sum(task.weight([0.3, 0.1, 0.2, 0.0, -0.1, 0.2])) == pytest.approx(1)


def test_pseudo_labels_count_where_the_answer_is_confident(monkeypatch):
    monkeypatch.setattr(target, "change_strongly", lambda x, _generator: x)
    network = ConvNet((4, 4), 3, channels=1).eval()
    x = torch.randn(6, 1, 28, 28)
    batch = Batch(x, torch.tensor([0, 1, -1, -1, -1, -1]))
    labels_alone = cross_entropy(network, batch, torch.Generator())
    p = network(x).detach().softmax(1)[2:]
    for threshold in (0.0, float(p.max(1).values.median()) + 1e-6, 1.1):
        monkeypatch.setattr(target, "CONFIDENCE", threshold)
        loss = target.compute_pseudo_label_loss(network, batch, torch.Generator())
        highest, y = p.max(1)
        losses = functional.cross_entropy(network(x)[2:], y, reduction="none")
        expected = (losses * (highest >= threshold)).mean()
        torch.testing.assert_close(loss, labels_alone + expected)


def test_strong_changes_erase_one_square():
    x = torch.full((3, 1, 28, 28), 5.0)
    changed = target.change_strongly(x, torch.Generator().manual_seed(0))
    inner = changed[:, :, 4:-4, 4:-4]
    assert bool((inner != 0).any())
    erased = (changed == 0).sum((1, 2, 3))
    assert bool((erased >= target.ERASED**2).all())
