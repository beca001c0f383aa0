"""What one variant is trained with, whose rows judge it, and what a state on disk belongs to."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from helpers.striped_images import SIDE, write_network
from ilk.core.linear_models import Linear
from ilk.encoders import resolve_encoder
from ilk.finetuning import from_images, trial
from ilk.finetuning.base import open_splitter
from ilk.finetuning.config import FinetuneConfig, Variant
from ilk.finetuning.division import Division
from ilk.finetuning.trial import Part, measure_memory, run_trial
from ilk.images.rows.row import Row
from ilk.training.augmentations import Flip, Shift
from ilk.training.batch import Batch
from ilk.training.recipe import DeviceConfig
from ilk.training.validation import ValidationResult


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    name = write_network(tmp_path_factory.mktemp("network") / "n")
    return resolve_encoder(name, runtime="torch", device="cpu")


@pytest.fixture(scope="module")
def splitter(base):
    return open_splitter(base)


@pytest.fixture
def run(base, splitter, tmp_path, monkeypatch):
    """Returns what `train` is given for a variant and settings."""
    d, found = base.space.dim, []

    def train(network, source, objective, recipe, device, checkpoint, validation):
        augmentations = getattr(objective, "augmentations", ())
        found.append(
            SimpleNamespace(
                network=network,
                recipe=recipe,
                path=checkpoint.path,
                validation=validation,
                augmentations=list(augmentations),
            )
        )
        validation.on_finish(ValidationResult(0.0, 0, 0, (), ""))
        return network

    monkeypatch.setattr(trial, "train", train)
    head = Linear.from_arrays(np.ones((2, d), np.float32), np.array([0.5, -0.5], np.float32))

    def call(variant=Variant("1"), config=FinetuneConfig(), key="a", measure=lambda *_: 0.0):  # noqa: B008
        split = splitter.split(variant.n_blocks)
        if variant.wrapper:
            import copy

            from ilk.peft import parse_wrapper

            wrapper = parse_wrapper(variant.wrapper)
            wrapped = wrapper.apply(copy.deepcopy(splitter.network))
            split = splitter.split_wrapped(wrapped, split, wrapper.starts_exactly)
        y = np.arange(40) % 2
        shape = (3, SIDE, SIDE) if split.frozen is None else (2, *split.shape)
        x = torch.zeros(40, *shape, dtype=torch.uint8 if split.frozen is None else torch.float32)
        part = Part(Batch(x, torch.from_numpy(y)), y, split.frozen is not None)
        device = DeviceConfig("cpu")
        made = run_trial(
            variant, split, head, base.preprocess, part, part, measure, config, tmp_path,
            {"images": key}, device,
        )  # fmt: skip
        return replace(made), found[-1]

    return call


def test_settings_reach_the_training(run):
    config = FinetuneConfig(
        updates=8, batch_size=16, lr=0.02, layer_decay=0.7, weight_decay=0.3, patience=2, seed=5
    )
    _, given = run(config=config)
    recipe = given.recipe
    assert (recipe.steps, recipe.batch_size, recipe.lr) == (8, 16, 0.02)
    assert (recipe.layer_decay, recipe.weight_decay, recipe.seed) == (0.7, 0.3, 5)
    assert (given.validation.patience, given.validation.interval) == (2, 2)
    assert run(config=FinetuneConfig(batch_size=64))[1].recipe.batch_size == 40  # no more than rows


def test_a_wrapper_has_its_own_rate_and_neither_decay_nor_rates_per_layer(run):
    from ilk.peft.wrappers.lora import LoRA

    recipe = run(Variant("all", "LoRA(rank=2)"))[1].recipe
    assert recipe.lr == LoRA.learning_rate
    assert (recipe.weight_decay, recipe.layer_decay) == (0.0, 1.0)
    rates = [run(Variant(layers))[1].recipe.lr for layers in ("1", "all")]
    assert rates == [5e-4, 1e-4]


def test_training_starts_at_the_head_of_the_frozen_network(run):
    network = run()[1].network
    assert torch.equal(network.fc.weight, torch.ones_like(network.fc.weight))
    assert network.fc.bias.tolist() == [0.5, -0.5]


def test_whole_images_are_shifted_and_flipped_unless_that_changes_their_class(run):
    everything = Variant("all")

    def list_kinds(**settings):
        given = run(everything, FinetuneConfig(**settings))[1]
        return [a for a in given.augmentations if isinstance(a, Flip | Shift)]

    assert list_kinds() == [Flip(), Shift(1, "reflect")]  # 6 % of 16 pixels
    assert list_kinds(flip=False, shift=0.25) == [Shift(4, "reflect")]
    assert list_kinds(shift=0.0) == [Flip()]


def test_a_state_belongs_to_one_variant_of_one_run(run):
    paths = [
        run()[1].path,
        run(Variant("2"))[1].path,
        run(config=FinetuneConfig(lr=0.1))[1].path,
        run(config=FinetuneConfig(seed=1))[1].path,
        run(key="b")[1].path,
    ]
    assert len(set(paths)) == len(paths)
    assert run()[1].path == paths[0]


def test_only_the_first_images_are_read_for_a_measure(run, monkeypatch):
    monkeypatch.setattr(trial, "N_SAMPLED", 7)
    seen = []
    _, given = run(measure=lambda *parts: seen.append([len(x) for x in parts]) or 0.0)
    given.validation.measure(given.network)
    assert seen == [[7, 40]]


class Widened(nn.Module):
    """A layer of 3 weights and one of 12, of which the first does not train."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 1, bias=False), nn.Linear(1, 12, bias=False)
        self.first.requires_grad_(False)

    def forward(self, x):
        return self.second(self.first(x)).exp()


@pytest.mark.parametrize("n", [2, 10])
def test_the_memory_of_a_training_by_hand(n):
    # weights five times; of each row what the product reads (1 value) and what exp gives (12)
    assert measure_memory(Widened(), torch.ones(n, 3)) == 4 * (5 * 12 + n * (1 + 12))


@pytest.fixture
def judge(monkeypatch):
    """A run whose features are the positions of images, and the rows that heads were fitted to."""
    n = 60
    order = np.random.default_rng(0).permutation(n)
    division = Division(
        (), ("a", "b"), np.arange(n) % 2, np.full(n, -1), order[:30], order[30:40], order[40:], 0
    )
    fitted, judged = [], []

    def fit(x, y, _classes, _groups):
        fitted.append(x[:, 0].astype(int).tolist())
        assert (y == x[:, 0].astype(int) % 2).all()
        return SimpleNamespace(logits=note)

    def note(x):
        judged.append(x[:, 0].astype(int).tolist())
        return np.stack([x[:, 0] % 2 == 0, x[:, 0] % 2], 1).astype(float)

    monkeypatch.setattr(from_images, "fit_head", fit)
    made = from_images._Run.__new__(from_images._Run)
    made.division = division
    return SimpleNamespace(run=made, division=division, fitted=fitted, judged=judged)


def test_no_head_is_judged_on_rows_that_it_was_fitted_to(judge):
    x = np.arange(60, dtype=np.float32)[:, None]
    candidate = judge.run.make_candidate("a", x)
    d = judge.division
    validation, held_out = judge.fitted
    assert sorted(validation) == sorted(d.train.tolist())
    assert sorted(held_out) == d.known.tolist()  # the validation part has done its work by then
    assert [sorted(rows) for rows in judge.judged] == [sorted(d.validation), sorted(d.held_out)]
    assert candidate.validation.is_correct.all()
    assert candidate.held_out.is_correct.all()


def test_a_measure_reads_the_first_training_rows_with_their_labels(judge):
    d = judge.division
    x = np.arange(60, dtype=np.float32)[:, None]
    judge.run.measure(x[d.train[:12]], x[d.validation])
    assert judge.fitted == [d.train[:12].tolist()]
    assert judge.judged == [d.validation.tolist()]


@pytest.mark.parametrize("flip", [True, False])
def test_mirrored_views_are_for_training_alone(base, splitter, monkeypatch, flip):
    monkeypatch.setattr(from_images, "encode_images", lambda *_a, **_k: None)
    made = from_images._Run.__new__(from_images._Run)
    made.base, made.config, made.store = base, FinetuneConfig(flip=flip), None
    made.images, made.progress = SimpleNamespace(), None
    monkeypatch.setattr(from_images, "replace", lambda *_a, **_k: None)
    made.division = SimpleNamespace(rows=())
    views = made.encode_front(splitter.split(1), Variant("1"))
    assert [view.is_mirrored for view in views] == ([False, True] if flip else [False])


def test_a_state_belongs_to_images_labels_and_their_division(judge, monkeypatch):
    monkeypatch.setattr(from_images, "open_splitter", lambda _base: None)
    monkeypatch.setattr(from_images._Run, "fit", lambda *_: None)

    def find(label="a", digest="0", key="s", train=(0, 1), validation=(2,)):
        made = from_images._Run.__new__(from_images._Run)
        made.base, made.x = SimpleNamespace(space=SimpleNamespace(key=key)), None
        made.division = replace(
            judge.division,
            rows=(Row("a.png", label, digest=digest),),
            train=np.array(train),
            validation=np.array(validation),
        )
        made.__post_init__()
        return made.key

    keys = [find(), find("b"), find(digest="1"), find(key="t"), find(train=(1, 0)),
            find(validation=(3,))]  # fmt: skip
    assert len({str(key) for key in keys}) == 6
    assert find() == keys[0]
