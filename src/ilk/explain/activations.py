"""Layers of a network whose outputs have places: found by running it, never named by the user."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import Unavailable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

MIN_PLACES = 4
HOOKS_LOCK = threading.RLock()  # networks are shared: two threads would record each other's layers
Array = NDArray[np.float32]


@dataclass(eq=False)
class RecordedOutputs:
    """Outputs of layers in the order in which they ran, with their gradients after a backward run.

    Attributes:
        outputs: Output of each layer: `[b, c, h, w]`, or tokens `[b, n, c]`.
    """

    outputs: list[Tensor] = field(default_factory=list)


@contextmanager
def record_outputs(network: Module) -> Iterator[RecordedOutputs]:
    """Record the outputs with places of all layers of a network, and keep their gradients."""
    import torch

    recorded = RecordedOutputs()

    def keep(_module: Module, _inputs: Any, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) and output else output
        if isinstance(tensor, torch.Tensor) and tensor.dim() in (3, 4) and tensor.requires_grad:
            tensor.retain_grad()
            recorded.outputs.append(tensor)

    with HOOKS_LOCK:
        hooks = [m.register_forward_hook(keep) for m in network.modules() if m is not network]
        try:
            yield recorded
        finally:
            for hook in hooks:
                hook.remove()


def find_stages(
    recorded: RecordedOutputs, shape: tuple[int, ...], explainer: str
) -> list[tuple[Array, Array]]:
    """Return outputs and gradients `[c, h', w']` of the last layer of each stage, last stage first.

    A stage is a run of layers with outputs of one size. In a transformer all sizes are alike; its
    stages are the layers at the end and at two thirds of the depth. Layers on whose places the
    answer does not depend, such as the tokens beside a class token at the very end, are skipped.

    Args:
        recorded: What was recorded, after the backward run.
        shape: Shape `[c, h, w]` of the input.
        explainer: Its name, for the message.

    Raises:
        Unavailable: No layer has places.
    """
    grids: list[tuple[tuple[int, int], Array, Array]] = []
    for output in recorded.outputs:
        if output.grad is None:
            continue
        found = _to_grid(output.detach().numpy()[0], shape), _to_grid(output.grad.numpy()[0], shape)
        if found[0] is None or found[1] is None or not np.any(found[1]):
            continue
        grids.append((found[0].shape[1:], found[0], found[1]))
    if not grids:
        raise Unavailable(
            f"{explainer} needs a layer whose outputs have places in the image, and this network "
            "has none; use --method occlusion or rise"
        )
    stages: dict[tuple[int, int], tuple[Array, Array]] = {}
    for size, output_values, gradient in grids:
        stages.pop(size, None)
        stages[size] = output_values, gradient
    if len(stages) == 1:
        _, *early = grids[(2 * len(grids)) // 3]
        return [next(iter(stages.values())), (early[0], early[1])]
    return list(stages.values())[::-1]


def _to_grid(values: Array, shape: tuple[int, ...]) -> Array | None:
    """Return an output of one image as `[c, h', w']`; None if it has no places."""
    if values.ndim == 3:
        height, width = values.shape[1:]
        if height * width < MIN_PLACES or height < 2 or width < 2:
            return None
        is_last = values.shape[0] in (height, width) and values.shape[2] > max(values.shape[:2])
        return values.transpose(2, 0, 1) if is_last else values  # [h, w, c] of some transformers
    side = find_grid(len(values), shape)
    if side is None:
        return None
    tokens = values[len(values) - side[0] * side[1] :]
    return np.ascontiguousarray(tokens.T.reshape(-1, *side))


def find_grid(n_tokens: int, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return rows and columns of the patches among tokens, some of which stand for no place.

    The patches are squares, so their grid has the shape of the input; the grid with the fewest
    further tokens is taken.
    """
    _, height, width = shape
    best = None
    for rows in range(2, n_tokens // 2 + 1):
        columns = round(rows * width / height)
        n = rows * columns
        is_square = columns >= 2 and height * columns == width * rows and height % rows == 0
        if is_square and MIN_PLACES <= n <= n_tokens and n_tokens - n <= max(8, n_tokens // 8):
            best = rows, columns
    return best
