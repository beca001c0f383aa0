"""A classifier as one torch network: the encoder's network, its inner maps, and any head.

The layers are found by running the network once; the user names none. A head that is not linear
passes gradients by central differences of its own scores, two per feature, which takes no pass of
the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ilk.core.errors import Unavailable
from ilk.core.linear_models import Linear
from ilk.explain.activations import find_grid
from ilk.explain.answer import Answer, compute_central_differences

N_TAPS = 3
MIN_PLACES = 4


class HeadedNetwork(nn.Module):
    """Maps normalized images `[b, c, h, w]` to the scaled logits `[b, k]` of a classifier.

    Args:
        network: Network of the encoder: normalized images to features `[b, d]`.
        answer: The answer of the classifier to any question.
        layers: Names of the layers to read; empty reads none.
    """

    def __init__(self, network: nn.Module, answer: Answer, layers: Sequence[str] = ()) -> None:
        super().__init__()
        self.network, self.answer, self.layers = network, answer, tuple(layers)

    def forward_taps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return logits `[b, k]` and the outputs of the layers, each `[b, c, h', w']`."""
        with record_layers(self.network, self.layers) as outputs:
            logits = self(x)
        found = [to_maps(outputs[name], x.shape) for name in self.layers]
        return logits, [tap for tap in found if tap is not None]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[b, k]`, those of classes that were never seen at -1e4."""
        return _HeadLogits.apply(self.network(x), self.answer)  # type: ignore[no-any-return, no-untyped-call]


@contextmanager
def record_layers(network: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Record the last outputs of named layers."""
    outputs: dict[str, Any] = {}

    def make_hook(name: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            outputs[name] = output[0] if isinstance(output, tuple) and output else output

        return keep

    modules = dict(network.named_modules())
    hooks = [modules[name].register_forward_hook(make_hook(name)) for name in layers]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def to_maps(output: Any, shape: Sequence[int]) -> Tensor | None:
    """Return an output for images of `shape [b, c, h, w]` as maps `[b, c', h', w']`, or None."""
    if not isinstance(output, Tensor) or output.ndim not in (3, 4) or len(output) != shape[0]:
        return None
    if output.ndim == 3:
        side = find_grid(output.shape[1], tuple(shape[1:]))
        if side is None:
            return None
        tokens = output[:, output.shape[1] - side[0] * side[1] :]
        return tokens.transpose(1, 2).reshape(len(tokens), tokens.shape[2], *side)
    _, a, height, width = output.shape
    if a == height and width > a:  # `[b, h, w, c]` of some transformers
        output = output.permute(0, 3, 1, 2)
        height, width = output.shape[2:]
    return output if height > 1 and width > 1 and height * width >= MIN_PLACES else None


def choose_layers(network: nn.Module, x: Tensor, n: int = N_TAPS) -> tuple[str, ...]:
    """Return the names of layers that tell where things are, in the order in which they run.

    The last block of each of the last few sizes; where there are fewer sizes, as in transformers,
    the last blocks. A block is an element of a list of modules that has parts itself; a network
    without any is read layer by layer.

    Args:
        network: Maps images to features.
        x: A normalized image, `[1, c, h, w]`.
        n: Number of layers.

    Raises:
        Unavailable: No layer has places.
    """
    modules = dict(network.named_modules())
    blocks = [
        f"{name}.{child}" if name else child
        for name, module in modules.items()
        if isinstance(module, nn.Sequential | nn.ModuleList)
        for child, inner in module.named_children()
        if any(True for _ in inner.children())
    ]
    for names in (blocks, [name for name in modules if name]):
        sizes = _find_sizes(network, x, names)
        if sizes:
            break
    else:
        raise Unavailable(
            "t-tame needs a layer whose outputs have places in the image, and this network has "
            "none; use --method occlusion or rise"
        )
    last = {size: name for name, size in sizes.items()}
    order = list(sizes)
    chosen = sorted(last.values(), key=order.index)[-n:]
    chosen += [name for name in reversed(order) if name not in chosen][: n - len(chosen)]
    return tuple(sorted(chosen, key=order.index))


def _find_sizes(network: nn.Module, x: Tensor, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return the size of the maps of each layer that has places, in the order in which they run."""
    with torch.no_grad(), record_layers(network, names) as outputs:
        network(x)
    found = {name: to_maps(output, x.shape) for name, output in outputs.items()}
    return {name: (m.shape[2], m.shape[3]) for name, m in found.items() if m is not None}


class _HeadLogits(torch.autograd.Function):
    """The scaled logits of a head that is not torch."""

    @staticmethod
    def forward(context: Any, features: Tensor, answer: Answer) -> Tensor:
        context.features, context.answer = features.detach(), answer
        logits = answer.compute_scaled_logits(features.detach().numpy())
        finite = np.nan_to_num(logits, nan=-1e4, neginf=-1e4, posinf=1e4)
        return torch.from_numpy(finite).to(features.dtype)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        slopes = gradients[0].double().numpy()
        x: np.ndarray[Any, Any] = context.features.numpy()
        answer: Answer = context.answer
        model = answer.classifier.model
        if isinstance(model, Linear):
            by_features = slopes @ answer.scale_weight(model)
        else:
            by_features = np.stack(
                [_differentiate(answer, row, slope) for row, slope in zip(x, slopes, strict=True)]
            )
        return torch.from_numpy(by_features).to(gradients[0].dtype), None


def _differentiate(answer: Answer, x: Any, slope: Any) -> Any:
    """Return the gradient `[d]` of `slope . logits` at features `[d]` by central differences."""
    used = np.flatnonzero(slope)

    def combine(rows: Any) -> Any:
        z = answer.compute_scaled_logits(rows)[:, used]
        return np.where(np.isfinite(z), z, 0.0) @ slope[used]

    return compute_central_differences(combine, x)
