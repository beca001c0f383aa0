"""Augmentations, against what NumPy and SciPy do to one image with the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from ilk.core.errors import InputError
from ilk.training.augmentations import Erase, Flip, JitterColor, RotateAndScale, Shift, compose
from ilk.training.batch import Batch

ALL = [Flip(), Shift(2), RotateAndScale(20, 1.2), JitterColor(), Erase(), compose(Flip(), Shift(1))]
Augment = Callable[[Batch, torch.Generator], Batch]


def make_batch(n: int = 6, h: int = 9, w: int = 7, c: int = 3) -> Batch:
    x = torch.rand(n, c, h, w, generator=torch.Generator().manual_seed(4))
    return Batch(x, torch.arange(n), torch.arange(n) + 5, torch.ones(n))


def call(augment: Augment, batch: Batch, seed: int = 0) -> torch.Tensor:
    return augment(batch, torch.Generator().manual_seed(seed)).x


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_the_generator_decides_and_everything_but_the_pixels_stays(augment: Augment) -> None:
    batch = make_batch()
    before = batch.x.clone()
    changed = augment(batch, torch.Generator().manual_seed(0))
    assert torch.equal(batch.x, before)
    assert torch.equal(changed.y, batch.y)
    assert torch.equal(changed.indices, batch.indices)
    assert torch.equal(changed.weight, batch.weight)
    assert changed.x.shape == batch.x.shape
    torch.manual_seed(1)
    assert torch.equal(changed.x, call(augment, batch))
    assert not torch.equal(changed.x, call(augment, batch, 1))


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_bytes_stay_bytes_and_agree_with_floats(augment: Augment) -> None:
    batch = make_batch()
    pixels = (255 * batch.x).round()
    as_bytes = call(augment, replace(batch, x=pixels.to(torch.uint8)))
    as_floats = call(augment, replace(batch, x=pixels))
    assert as_bytes.dtype == torch.uint8
    assert (as_bytes.float() - as_floats.clamp(0, 255)).abs().max() <= 0.51


@pytest.mark.parametrize("augment", ALL, ids=repr)
def test_gradients_reach_the_images(augment: Augment) -> None:
    batch = make_batch(2, 5, 4)
    x = batch.x.double().requires_grad_()

    def run(values: torch.Tensor) -> torch.Tensor:
        return call(augment, replace(batch, x=values))

    if isinstance(augment, JitterColor):  # the unit of its brightness is held fixed
        augment = replace(augment, brightness=0.0)
    assert torch.autograd.gradcheck(run, x)
    run(x).square().sum().backward()
    assert float(x.grad.abs().sum()) > 0


@pytest.mark.parametrize("augment", ALL[:5], ids=repr)
def test_siamese_batches_get_one_change(augment: Any) -> None:
    batch = make_batch()
    shared = replace(augment, per_image=False)
    whole = call(shared, batch, 3)
    if isinstance(augment, JitterColor):
        shared = replace(shared, brightness=0.0)
        whole = call(shared, batch, 3)
    part = call(shared, batch.select(torch.tensor([2, 4])), 3)
    assert torch.allclose(part, whole[[2, 4]])


def test_half_of_the_images_are_mirrored() -> None:
    batch = make_batch(400, 2, 3)
    changed = call(Flip(), batch)
    mirrored = (changed == batch.x.flip(-1)).flatten(1).all(1)
    kept = (changed == batch.x).flatten(1).all(1)
    assert bool((mirrored ^ kept).all())
    assert 150 < int(mirrored.sum()) < 250
    assert torch.equal(call(Flip(0.0), batch), batch.x)
    assert torch.equal(call(Flip(1.0), batch), batch.x.flip(-1))


@pytest.mark.parametrize(
    ("border", "mode"), [("zeros", "constant"), ("edge", "edge"), ("reflect", "reflect")]
)
def test_a_shift_is_a_crop_of_the_padded_image(border: str, mode: Any) -> None:
    batch, p = make_batch(300, 6, 5), 3
    changed = call(Shift(p, border), batch).numpy()
    seen = set()
    for old, new in zip(batch.x.numpy(), changed, strict=True):
        padded = np.pad(old, ((0, 0), (p, p), (p, p)), mode)
        found = [
            (i, j)
            for i in range(2 * p + 1)
            for j in range(2 * p + 1)
            if np.array_equal(padded[:, i : i + 6, j : j + 5], new)
        ]
        assert found
        seen.add(found[0])
    assert len(seen) > 40  # of 49


@pytest.mark.parametrize(("h", "w"), [(8, 8), (6, 11)])
@pytest.mark.parametrize(
    ("border", "mode"), [("zeros", "grid-constant"), ("edge", "nearest"), ("reflect", "reflect")]
)
def test_a_rotation_is_that_of_scipy(border: str, mode: str, h: int, w: int) -> None:
    """By pixels of an image, whatever its sides, and with what lies outside."""
    batch = make_batch(1, h, w)
    for seed in range(20):
        drawn = torch.rand(1, generator=torch.Generator().manual_seed(seed))
        angle = 180 * (2 * float(drawn) - 1)
        turned = call(RotateAndScale(180, 1.0, border), batch, seed)[0].numpy()
        expected = np.stack(
            [
                ndimage.rotate(plane, angle, reshape=False, order=1, mode=mode)
                for plane in batch.x[0].numpy()
            ]
        )
        assert np.allclose(turned, expected, atol=1e-4)


def test_a_scale_enlarges_evenly_in_the_logarithm() -> None:
    """The area of a bright square grows by the square of the factor, on either axis alike."""
    x = torch.zeros(500, 1, 60, 40)
    x[:, :, 20:40, 10:30] = 1.0
    changed = call(RotateAndScale(0, 1.5), Batch(x, torch.zeros(500)))
    factors = (changed.sum((1, 2, 3)) / 400).sqrt()
    assert float(factors.min()) == pytest.approx(1 / 1.5, rel=0.03)
    assert float(factors.max()) == pytest.approx(1.5, rel=0.03)
    assert float(factors.log().mean()) == pytest.approx(0, abs=0.03)
    widths = changed[:, 0, 30].sum(1), changed[:, 0, :, 20].sum(1)
    assert torch.allclose(widths[0], widths[1], atol=0.6)


def test_colour_changes_the_three_parts_of_an_image() -> None:
    batch = make_batch()
    grey = batch.x.mean(1, keepdim=True)
    changed = call(JitterColor(0.0, 0.5, 0.0), batch)
    assert torch.allclose(changed.mean(1, keepdim=True), grey, atol=1e-6)
    factors = ((changed - grey) / (batch.x - grey)).flatten(1)
    assert torch.allclose(factors, factors[:, :1].expand_as(factors), atol=1e-2)
    changed = call(JitterColor(0.0, 0.0, 0.3), batch)
    assert torch.allclose(changed.mean((1, 2, 3)), batch.x.mean((1, 2, 3)), atol=1e-6)
    mean = batch.x.mean((1, 2, 3), keepdim=True)  # colours differ by the same factor as pixels do
    factors = ((changed - mean) / (batch.x - mean)).flatten(1)
    assert torch.allclose(factors, factors[:, :1].expand_as(factors), atol=1e-2)
    assert float(factors.max()) > 1.05
    changed = call(JitterColor(0.2, 0.0, 0.0), batch) - batch.x
    assert torch.allclose(changed, changed[:, :1, :1, :1].expand_as(changed), atol=1e-6)
    assert float(changed.abs().max()) <= 0.2 * float(batch.x.std())


def test_a_square_is_erased() -> None:
    changed = call(Erase(0.5), Batch(torch.ones(200, 1, 8, 10), torch.zeros(200)))
    hidden = (changed == 0).sum((1, 2, 3))
    assert int(hidden.max()) == 16
    assert int(hidden.min()) >= 4


def test_wrong_settings_and_features_are_refused() -> None:
    for make in (
        lambda: Flip(1.5),
        lambda: Shift(-1),
        lambda: Shift(1, "wrap"),
        lambda: RotateAndScale(-3),
        lambda: RotateAndScale(3, 0.5),
        lambda: JitterColor(saturation=2),
        lambda: Erase(2),
    ):
        with pytest.raises(InputError):
            make()
    with pytest.raises(InputError, match="images"):
        call(Flip(), Batch(torch.ones(3, 4), torch.zeros(3)))
