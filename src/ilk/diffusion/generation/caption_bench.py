"""Compositionality: does a diffusion classifier tell a caption from a slightly wrong one?

Yujin Jeong and others, 2025, Diffusion Classifiers Understand Compositionality, but Conditions
Apply, arXiv 2505.17955: every image has its true caption and a wrong one per task, which differs in
one attribute, in which object has it (binding), or in the place of the objects; the accuracy is the
fraction of images whose true caption scores higher, so that guessing gives one half. On images that
a network generated itself (Self-Bench) accuracy is higher than on those of another.

Captions are the classes of a network. Half of the images are tested; the other half teaches the
weights of the noise levels (`ilk.diffusion.generation.weighting_accuracy`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.class_errors import compute_class_errors
from ilk.diffusion.generation.weighting_accuracy import (
    SelfBenchConfig,
    compare_weightings,
    make_even_levels,
    summarize_accuracy,
)

CaptionJudge = Callable[[Tensor, Tensor], Tensor]
"""`(images [n, c, h, w] in [-1, 1], captions [n]) -> whether each image shows its caption [n]`."""


def evaluate_captions(
    network: Denoises,
    x: Tensor,
    true: Tensor,
    wrong: Mapping[str, Tensor],
    is_test: Tensor,
    config: SelfBenchConfig = SelfBenchConfig(),  # noqa: B008  (frozen)
    progress: Progress = silent_progress,
) -> dict[str, dict[str, Any]]:
    """Return accuracy by weighting and accuracy of single levels, by task, as plain JSON.

    The errors of the true caption are computed once for all tasks.

    Args:
        network: A denoiser whose classes are captions.
        x: Images `[n, c, h, w]` in [-1, 1].
        true: Index of the true caption of each image, `[n]`.
        wrong: Index of a wrong caption of each image, `[n]`, by task.
        is_test: Whether each image is held out, `[n]` bool.
        config: Levels, seed, distance, batch size.
        progress: Reports network calls.

    Raises:
        InputError: There is no task, or a wrong caption is the true one.
    """
    if not wrong or any(bool((captions == true).any()) for captions in wrong.values()):
        raise InputError("give one task or more, whose wrong captions differ from the true ones")
    even = make_even_levels(network, config)
    noise, sigmas = even.draw_noise(network, config.seed), torch.tensor(even.sigmas)
    candidates = torch.stack([true, *wrong.values()], 1)
    errors = compute_class_errors(network, x, sigmas, noise, config.measure, progress, candidates)
    first, out = torch.zeros(len(x), dtype=torch.int64), {}
    for i, name in enumerate(wrong, 1):
        pair = errors[:, [0, i]]
        correct, details = compare_weightings(network, pair, first, is_test, config)
        out[name] = {
            "accuracy": {rule: summarize_accuracy(hits) for rule, hits in correct.items()},
            "one level alone": details["one level alone"],
        }
    return out


def draw_captions(
    generator: Denoises,
    captions: Tensor,
    judge: CaptionJudge,
    config: SelfBenchConfig = SelfBenchConfig(),  # noqa: B008  (frozen)
) -> tuple[Tensor, Tensor]:
    """Generate an image per caption `[n]`; return images and which show their caption, `[n]`."""
    x = config.sampler.draw(generator, captions, config.measure.device).cpu()
    return x, judge(x, captions)
