"""What a classifier costs: weights, bytes, multiply-adds and time per image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.artifacts import pack
from ilk.artifacts.classifier import Classifier
from ilk.core.capabilities import Embeds, list_parts
from ilk.core.regular_file import read_regular_file
from ilk.core.timing import time_in_turns
from ilk.encoders.families import is_pretrained

if TYPE_CHECKING:
    from torch import nn

N_TIMED, REPEATS, MAX_SECONDS = 16, 7, 20.0  # images at a time, times each, for one classifier


@dataclass(frozen=True)
class Cost:
    """What one answer costs.

    Attributes:
        parameters: Number of weights of the networks and of the model that reads their features;
            None where a network cannot be counted.
        size: Bytes of these weights as they are stored; None likewise.
        multiply_adds: Multiplications of convolutions and matrix products for one image; None where
            they cannot be counted.
    """

    parameters: int | None
    size: int | None
    multiply_adds: int | None


def measure_cost(*classifiers: Classifier) -> Cost:
    """Return what an answer of a classifier, or of several together, costs.

    Networks are built, and run once; those that several share count once.
    """
    sizes = [_measure_model(classifier) for classifier in classifiers]
    values, size = (sum(column) for column in zip(*sizes, strict=True))
    networks: dict[str, tuple[int, int] | None] = {}
    multiply_adds: int | None = values
    parts = list_parts([classifier.encoder for classifier in classifiers])
    for part in {part.space.key: part for part in parts}.values():
        checkpoint, n_views = _find_network(part)
        if checkpoint is None:
            networks[part.space.key] = _count_stored(part)
            is_free = not is_pretrained(part.name)
            multiply_adds = multiply_adds if is_free else None
            continue
        network = checkpoint.build_network()
        networks[repr(checkpoint.digest_files())] = _count(network)
        count = count_multiply_adds(network, (3, *checkpoint.preprocess.size))
        multiply_adds = None if multiply_adds is None else multiply_adds + n_views * count
    if any(counted is None for counted in networks.values()):
        return Cost(None, None, multiply_adds)
    counts = [counted for counted in networks.values() if counted is not None]
    return Cost(values + sum(n for n, _ in counts), size + sum(b for _, b in counts), multiply_adds)


def count_multiply_adds(network: nn.Module, shape: Sequence[int]) -> int:
    """Return the multiply-adds of all convolutions and linear layers for one image.

    Other operators are left out: they are few in networks of convolutions; the products of
    attention between tokens are among them.

    Args:
        network: Images `[b, c, h, w]` to features or logits.
        shape: `(c, h, w)`.
    """
    import torch
    from torch import nn

    total = 0

    def count(module: nn.Module, _inputs: Any, output: Any) -> None:
        nonlocal total
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            per_value = module.weight[0].numel()  # inputs of a group times the kernel
            total += per_value * int(output.numel())
        elif isinstance(module, nn.Linear):
            total += module.in_features * int(output.numel())

    kinds = (nn.Conv1d, nn.Conv2d, nn.Linear)
    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, kinds)]
    was_training = network.training
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, *shape, device=device))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return total


def measure_seconds(
    classifiers: Sequence[Classifier], prepared: Sequence[NDArray[np.uint8]]
) -> list[float]:
    """Return seconds per image from prepared pixels to answers, for each classifier.

    Args:
        classifiers: m classifiers.
        prepared: Images as the encoder of each takes them, m arrays `[b, c, h, w]`, b >= 1.
    """

    def answer(classifier: Classifier, pixels: NDArray[np.uint8]) -> None:
        classifier.score_batch(classifier.encoder.embed(pixels))

    pairs = list(zip(classifiers, prepared, strict=True))
    for classifier, pixels in pairs:
        answer(classifier, pixels[:1])  # loads and warms up
    times = time_in_turns([partial(answer, *p) for p in pairs], REPEATS, max_seconds=MAX_SECONDS)
    return [seconds / len(pixels) for seconds, pixels in zip(times, prepared, strict=True)]


def _measure_model(classifier: Classifier) -> tuple[int, int]:
    """Return the number of values of the model that reads the features, and their bytes."""
    from safetensors.numpy import load

    weights, _ = pack.pack({"model": classifier.model})
    arrays = load(weights).values()
    return sum(int(a.size) for a in arrays), sum(int(a.nbytes) for a in arrays)


def _find_network(encoder: Embeds) -> tuple[Any, int]:
    """Return the checkpoint of an encoder's network, and how often an image passes it.

    Also through views and learned embeddings; None where it has no network of torch.
    """
    inner: Any = encoder
    n_views = 1
    while inner is not None:
        n_views *= int(getattr(inner, "n_views", 1))
        checkpoint = getattr(inner, "checkpoint", None)
        if checkpoint is not None and getattr(inner, "has_torch_network", True):
            return checkpoint, n_views
        inner = getattr(inner, "base", None)
    return None, n_views


def _count(network: nn.Module) -> tuple[int, int]:
    """Return the number of weights, and the bytes of weights and statistics."""
    tensors = [*network.parameters(), *network.buffers()]
    count = sum(p.numel() for p in network.parameters())
    return count, sum(t.numel() * t.element_size() for t in tensors)


def _count_stored(encoder: Embeds) -> tuple[int, int] | None:
    """Return weights and bytes of the files of an encoder, as `_count`.

    Encoders without weights have none; None where the files are of another kind.
    """
    from safetensors import safe_open

    folder = getattr(encoder, "folder", None)
    if folder is None:
        return (0, 0) if not is_pretrained(encoder.name) else None
    count = size = 0
    for path in sorted(Path(folder).rglob("*.safetensors")):
        size += len(read_regular_file(path))
        with safe_open(path, "numpy") as file:
            for name in file.keys():  # noqa: SIM118  (not a dictionary)
                count += int(np.prod(file.get_slice(name).get_shape(), dtype=np.int64))
    return (count, size) if count else None
