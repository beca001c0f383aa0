"""Patches of a network: which blocks, which grid, and where a change of the image shows."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ilk.architectures.patch_network import choose_stages
from ilk.encoders import resolve_encoder
from ilk.encoders.patches import open_patches


@pytest.mark.parametrize("name", ["hog", "pixels/8x8x3", "efficientnet-lite0@views=2"])
def test_encoders_without_blocks_have_no_patches(name: str) -> None:
    assert open_patches(resolve_encoder(name)) is None


def test_blocks_are_chosen_by_their_stride() -> None:
    strides = (2, 4, 8, 16, 16, 32)
    sizes = [(224 // s, 224 // s) for s in strides]
    assert choose_stages(sizes, (224, 224)) == ([2, 3, 4, 5], 14, 14)
    assert choose_stages([(14, 14)] * 12, (224, 224)) == ([6, 9], 14, 14)
    assert choose_stages([(7, 7)] * 12, (224, 224)) == ([6, 9], 7, 7)
    assert choose_stages([(5, 5)] * 4, (100, 100)) == ([2, 3], 5, 5)


def test_patches_are_means_over_neighbours_of_the_blocks() -> None:
    """A second derivation with numpy, on the grid of a sixteenth."""
    import torch

    encoder = resolve_encoder("efficientnet-lite0@resize=squash", runtime="torch")
    patches = open_patches(encoder)
    assert patches is not None
    assert patches.grid == (14, 14, 424)
    assert patches.space.dim == 14 * 14 * 424
    assert patches.space.key != encoder.space.key
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    prepared = patches.prepare(Image.fromarray(pixels))[None]
    found = patches.embed(prepared).reshape(14, 14, 424)
    network = encoder.checkpoint.build_network()  # type: ignore[attr-defined]
    with torch.inference_mode():
        stages = network.forward_stages(torch.from_numpy(patches.preprocess.normalize(prepared)))
    fine, coarse = stages[2][0].numpy(), stages[4][0].numpy()  # 28 x 28 and 14 x 14

    def average(block: np.ndarray) -> np.ndarray:
        padded = np.pad(block, ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        return np.asarray(windows.mean((3, 4)))

    halved = average(fine).reshape(40, 14, 2, 14, 2).mean((2, 4))
    np.testing.assert_allclose(found[..., :40], halved.transpose(1, 2, 0), atol=2e-3)
    np.testing.assert_allclose(found[..., 120:232], average(coarse).transpose(1, 2, 0), atol=2e-3)


def test_a_change_of_the_image_shows_where_it_is() -> None:
    patches = open_patches(resolve_encoder("efficientnet-lite0@resize=squash", runtime="torch"))
    assert patches is not None
    pixels = np.full((224, 224, 3), 120, np.uint8)
    changed = pixels.copy()
    changed[32:64, 160:192] = [255, 0, 0]
    pair = [patches.prepare(Image.fromarray(p)) for p in (pixels, changed)]
    before, after = patches.embed(np.stack(pair)).reshape(2, 14, 14, -1)
    row, column = np.unravel_index(np.linalg.norm(after - before, axis=2).argmax(), (14, 14))
    assert 1 <= row <= 4
    assert 9 <= column <= 12
