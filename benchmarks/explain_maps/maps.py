"""Maps of canvases for one class: baselines, Grad-CAM, RISE, and what they cost in passes.

All take a network of `benchmarks.canvas_networks`, pixels `[n, 1, 56, 56]` in [0, 1] and classes
`[n]`, and return maps `[n, 56, 56]`. What is masked gets the mean colour.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.canvas import SIDE, FloatArray
from benchmarks.canvas_networks import (
    MEAN,
    CanvasCNN,
    CanvasNetwork,
    CanvasViT,
    normalize,
    predict_proba,
)

IntArray = NDArray[np.int64]
N_MASKS, GRID = 500, 7  # of RISE


def make_random_maps(x: FloatArray, seed: int) -> FloatArray:
    """Return smooth random maps."""
    rng = np.random.default_rng(seed)
    return resize(rng.random((len(x), 8, 8)).astype(np.float32))


def make_centre_maps(x: FloatArray) -> FloatArray:
    """Return maps that fall with the distance from the middle."""
    at = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    one = np.exp(-(at[:, None] ** 2 + at[None] ** 2) / (2 * 0.25**2))
    return np.broadcast_to(one, (len(x), SIDE, SIDE)).astype(np.float32)


def make_edge_maps(x: FloatArray) -> FloatArray:
    """Return the size of the gradient by Sobel's filter."""
    from scipy.ndimage import sobel

    return np.stack([np.hypot(sobel(i, 0), sobel(i, 1)) for i in x[:, 0]]).astype(np.float32)


def make_grad_cam_maps(network: CanvasNetwork, x: FloatArray, classes: IntArray) -> FloatArray:
    """Return Grad-CAM at the last map before pooling; of a transformer, before its last block.

    There, the class token still reads the patches.
    """
    kept: list[Tensor] = []
    layer = network.stages[-1] if isinstance(network, CanvasCNN) else network.blocks[-2]

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1]

    hook = layer.register_forward_hook(keep)
    try:
        logits = network(normalize(x))
    finally:
        hook.remove()
    rows = torch.arange(len(x))
    [gradient] = torch.autograd.grad(logits[rows, torch.from_numpy(classes)].sum(), kept[0])
    maps, slopes = kept[0].detach(), gradient
    if isinstance(network, CanvasViT):
        maps, slopes = network.to_map(maps), network.to_map(slopes)
    weights = slopes.mean((2, 3), keepdim=True)
    return resize(functional.relu((weights * maps).sum(1)).numpy())


def make_rise_maps(
    network: CanvasNetwork, x: FloatArray, classes: IntArray, seed: int, n_masks: int = N_MASKS
) -> FloatArray:
    """Return RISE maps (Petsiuk and others 2018), less the mean map of all classes."""
    masks = draw_masks(n_masks, seed)
    maps = []
    for image, c in zip(x, classes, strict=True):
        p = predict_proba(network, apply_masks(image[None], masks))
        centred = p[:, c] - p.mean(1)
        maps.append(np.tensordot(centred - centred.mean(), masks, 1) / (n_masks * masks.mean()))
    return np.stack(maps).astype(np.float32)


def draw_masks(n: int, seed: int) -> FloatArray:
    """Return RISE's masks `[n, 56, 56]`: a random grid, enlarged and shifted."""
    rng = np.random.default_rng(seed)
    cell = -(-SIDE // GRID)
    grids = torch.from_numpy((rng.random((n, 1, GRID + 1, GRID + 1)) < 0.5).astype(np.float32))
    size = (GRID + 1) * cell
    large = functional.interpolate(grids, (size, size), mode="bilinear", align_corners=False)
    shifts = rng.integers(0, size - SIDE + 1, (n, 2))
    return np.stack(
        [m[0, i : i + SIDE, j : j + SIDE] for m, (i, j) in zip(large.numpy(), shifts, strict=True)]
    )


def apply_masks(x: FloatArray, masks: FloatArray) -> FloatArray:
    """Return pixels under masks `[n, 56, 56]` in [0, 1]: 0 gives the mean colour."""
    return np.asarray(MEAN + masks[:, None] * (x - MEAN), np.float32)


def resize(maps: FloatArray) -> FloatArray:
    """Return maps `[n, h, w]` at the size of a canvas, bilinear."""
    tensor = torch.from_numpy(np.ascontiguousarray(maps, np.float32))[:, None]
    large = functional.interpolate(tensor, (SIDE, SIDE), mode="bilinear", align_corners=False)
    return np.asarray(large[:, 0].numpy(), np.float32)
