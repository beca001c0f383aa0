"""Sources give the same rows wherever they are stored, and samplers draw what they promise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.small_training import RECIPE, data, network, plain
from ilk.core.errors import InputError
from ilk.images.pixels import PixelEncoder
from ilk.training.batch import Batch
from ilk.training.recipe import CheckpointConfig
from ilk.training.samplers import BalancedSampler, EpisodicSampler, ShuffledSampler
from ilk.training.sources import ArraySource, DecodedSource, SampledSource, stream_batches
from ilk.training.trainer import train


def weights(net):
    return torch.nn.utils.parameters_to_vector(net.parameters())


def test_a_mapped_file_trains_the_same_network_as_rows_in_memory(tmp_path):
    rows = data()
    np.save(tmp_path / "x.npy", rows.x.numpy())
    mapped = ArraySource.open(tmp_path / "x.npy", rows.y.numpy())
    assert isinstance(mapped.x, np.memmap)
    positions = torch.tensor([7, 0, 19, 7])
    batch = mapped.take(positions, "cpu")
    assert torch.equal(batch.x, rows.x[positions])
    assert torch.equal(batch.y, rows.y[positions])
    assert torch.equal(batch.indices, positions)
    one, other = (train(network(), source, plain, RECIPE) for source in (rows, mapped))
    assert torch.equal(weights(one), weights(other))


def test_images_are_decoded_as_they_are_drawn(tmp_path):
    files, opened = [], []
    for i in range(9):
        files.append(tmp_path / f"{i}.png")
        Image.new("RGB", (8, 8), (20 * i, 0, 0)).save(files[-1])
    encoder = PixelEncoder(4, 4, 3)

    def decode(file):
        opened.append(file)
        with Image.open(file) as image:
            return encoder.prepare(image.convert("RGB"))

    source = DecodedSource(files, np.arange(9) % 2, decode)
    batch = source.take(torch.tensor([3, 1]), "cpu")
    assert batch.x.shape == (2, 3, 4, 4)
    assert batch.x[:, 0, 0, 0].tolist() == [60, 20]
    assert opened == [files[3], files[1]] or set(opened) == {files[3], files[1]}
    steps = list(stream_batches(source, range(3), 3, 0, slice(None), "cpu"))
    assert sorted(torch.cat([b.indices for b in steps]).tolist()) == list(range(9))


def test_an_interrupted_run_draws_the_same_rows_again(tmp_path):
    rows = data()
    source = SampledSource(rows, BalancedSampler(rows.y))
    whole = train(network(), source, plain, RECIPE)

    def stop(step, _loss, _ema):
        if step == 5:
            raise KeyboardInterrupt

    watch = CheckpointConfig(tmp_path / "s", interval=1, on_checkpoint=stop)
    with pytest.raises(KeyboardInterrupt):
        train(network(), source, plain, RECIPE, checkpointing=watch)
    resumed = train(
        network(), source, plain, RECIPE, checkpointing=replace(watch, on_checkpoint=None)
    )
    assert torch.equal(weights(whole), weights(resumed))
    assert not torch.equal(weights(whole), weights(train(network(), rows, plain, RECIPE)))


def test_a_balanced_sampler_draws_groups_evenly_and_rows_in_turn():
    groups = torch.tensor([0] * 30 + [1] * 7 + [2] * 3 + [-1] * 10)
    sampler = BalancedSampler(groups)
    rows = torch.cat([sampler.draw(step, 8, seed=1) for step in range(30)])
    counts = torch.bincount(groups[rows])
    assert counts.tolist() == [80, 80, 80]
    for g, size in enumerate((30, 7, 3)):
        own = rows[groups[rows] == g]
        n_epochs = len(own) // size
        for epoch in own[: n_epochs * size].view(n_epochs, size):
            assert len(set(epoch.tolist())) == size
    assert torch.equal(sampler.draw(4, 8, 1), BalancedSampler(groups).draw(4, 8, 1))
    assert not torch.equal(sampler.draw(4, 8, 1), sampler.draw(4, 8, 2))
    with pytest.raises(InputError, match="no row has a group"):
        BalancedSampler(torch.full((3,), -1))


def test_an_episode_has_the_classes_and_the_rows_that_it_is_given():
    y = torch.tensor([0] * 9 + [1] * 2 + [2] * 9 + [3] + [4] * 9 + [-1] * 4)
    sampler = EpisodicSampler(y, n_way=3)
    seen = set()
    for step in range(20):
        rows = sampler.draw(step, 12, seed=0)
        classes, counts = torch.unique(y[rows], return_counts=True)
        assert counts.tolist() == [4, 4, 4]
        assert not {3, -1} & set(classes.tolist())  # a single row makes no episode
        seen |= set(classes.tolist())
        for c in set(classes.tolist()) - {1}:
            assert len(set(rows[y[rows] == c].tolist())) == 4
    assert seen == {0, 1, 2, 4}
    assert torch.equal(sampler.draw(3, 12, 0), EpisodicSampler(y, 3).draw(3, 12, 0))
    with pytest.raises(InputError, match="not a multiple of n_way 3"):
        sampler.draw(0, 10, 0)
    with pytest.raises(InputError, match="4 classes have two rows"):
        EpisodicSampler(y, 5)


def test_the_default_sampler_is_a_pass_over_all_rows():
    rows = torch.cat([ShuffledSampler(20).draw(step, 5, 0) for step in range(4)])
    assert sorted(rows.tolist()) == list(range(20))


def test_views_are_an_axis_of_the_batch():
    batch = Batch(torch.zeros(3, 2), torch.arange(3), torch.arange(3) + 5, torch.ones(3))
    views = batch.stack_views([batch.x + 1, batch.x + 2])
    assert views.x.shape == (3, 2, 2)
    flat = views.flatten_views()
    assert flat.x[:, 0].tolist() == [1, 2, 1, 2, 1, 2]
    assert flat.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert flat.indices.tolist() == [5, 5, 6, 6, 7, 7]
    assert len(flat.weight) == 6


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(InputError, match="3 rows and 2 labels"):
        ArraySource(np.zeros((3, 2)), np.zeros(2, np.int64))
    with pytest.raises(InputError, match="3 files and 2 labels"):
        DecodedSource(list("abc"), np.zeros(2, np.int64), len)
    (tmp_path / "x.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="not an array that can be mapped"):
        ArraySource.open(tmp_path / "x.npy", np.zeros(2, np.int64))
