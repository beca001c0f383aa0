"""Simulated sequences: each track is one real image that drifts, through a frozen network.

An image is shifted, turned, scaled and blurred by stationary random walks (autoregressive of order
one, so that the drift is smooth and bounded); the network was trained on other classes.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.small_networks import SmallNetwork
from ilk.core.data import Data, Features

PERSISTENCE = 0.88  # of the walks from frame to frame
SHIFT, TURN, SCALE, BLUR = 0.1, 13.0, 0.1, 0.4  # standard deviations; of the half side, degrees
BATCH = 4096


def draw_walks(rng: np.random.Generator, n_tracks: int, n_frames: int) -> NDArray[np.float64]:
    """Return standard normal walks `[tracks, frames, 5]`."""
    walk = np.empty((n_tracks, n_frames, 5))
    walk[:, 0] = rng.standard_normal((n_tracks, 5))
    for t in range(1, n_frames):
        step = np.sqrt(1 - PERSISTENCE**2) * rng.standard_normal((n_tracks, 5))
        walk[:, t] = PERSISTENCE * walk[:, t - 1] + step
    return walk


def drift_images(images: Tensor, walk: NDArray[np.float64]) -> Tensor:
    """Return frames `[tracks * frames, 1, h, w]` of images `[tracks, 1, h, w]`."""
    n_frames = walk.shape[1]
    w = torch.from_numpy(walk.reshape(-1, 5)).float()
    angle, zoom = torch.deg2rad(TURN * w[:, 2]), torch.exp(SCALE * w[:, 3])
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    theta = torch.stack([cos, -sin, SHIFT * w[:, 0], sin, cos, SHIFT * w[:, 1]], 1).reshape(
        -1, 2, 3
    )
    still = images.repeat_interleave(n_frames, 0)
    grid = functional.affine_grid(theta, list(still.shape), align_corners=False)
    moved = functional.grid_sample(still, grid, align_corners=False)
    share = (BLUR * w[:, 4]).clamp(0, 1).reshape(-1, 1, 1, 1)
    return (1 - share) * moved + share * functional.avg_pool2d(moved, 5, 1, 2)


@torch.inference_mode()
def draw_sequence(
    data: Data, network: SmallNetwork, rng: np.random.Generator, n_tracks: int, n_frames: int
) -> Features:
    """Return features `[tracks, frames, d]` of as many different images, drifting."""
    rows = rng.choice(len(data), n_tracks, replace=False)
    images = torch.from_numpy(data.x[rows]).reshape(-1, 1, 28, 28)
    frames = drift_images(images, draw_walks(rng, n_tracks, n_frames))
    parts = [network.forward_features(part) for part in torch.split(frames, BATCH)]
    return torch.cat(parts).numpy().reshape(n_tracks, n_frames, -1)
