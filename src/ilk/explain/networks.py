"""The torch networks behind an encoder, for explainers that need gradients or attention.

Every network encoder can build its network in torch, whatever runs it otherwise, so a classifier on
OpenVINO or ONNX Runtime has gradients too. Encoders that average views, or stand side by side, are
taken apart: each part is a network, its values among those of the prepared image, its columns among
the features, and its weight.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.capabilities import CombinesEncoders, Embeds
from ilk.core.errors import Unavailable
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.views import ViewEncoder
from ilk.explain.contract import Map
from ilk.explain.subject import GRADIENT_PASSES, Subject
from ilk.hub.preprocessing import FloatArray

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

MAX_NETWORKS = 2  # kept in memory
_NETWORKS: dict[str, Any] = {}
_NETWORKS_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class Part:
    """A network that makes some of the features of an image.

    Attributes:
        network: In evaluation mode, on the CPU, in float32; parameters without gradients.
        normalize: Converts pixels `[b, c, h, w]` to what it takes.
        values: First of its values in the flat prepared image, and the one after the last.
        shape: Their shape, `[c, h, w]`.
        columns: First of its columns in the features, and the one after the last.
        weight: What its features are multiplied by in the mean over views.
    """

    network: Module
    normalize: Callable[[NDArray[Any]], FloatArray]
    values: tuple[int, int]
    shape: tuple[int, ...]
    columns: tuple[int, int]
    weight: float

    def cut(self, prepared: NDArray[Any]) -> NDArray[Any]:
        """Return the part of prepared images `[n, ...]` that this network sees, `[n, c, h, w]`."""
        flat = prepared.reshape(len(prepared), -1)[:, self.values[0] : self.values[1]]
        return flat.reshape(len(prepared), *self.shape)


def has_networks(encoder: Embeds) -> bool:
    """Whether all features of an encoder come from torch networks that can be opened."""
    if isinstance(encoder, CombinesEncoders):
        return all(has_networks(part) for part in encoder.parts)
    if isinstance(encoder, ViewEncoder):
        return has_networks(encoder.base)
    return isinstance(encoder, NetworkEncoder) and encoder.has_torch_network


def open_parts(subject: Subject, explainer: str) -> list[Part]:
    """Return the networks behind the encoder of a subject.

    Raises:
        Unavailable: Some features come from no torch network; the message names the explainer.
    """
    encoder = subject.encoder
    if not has_networks(encoder):
        raise Unavailable(
            f"{explainer} needs the gradients of a network, and {encoder.name} has none; use "
            "--method occlusion or rise, which need no gradients"
        )
    return list(_iter_parts(encoder, subject.prepared.shape, subject))


def _iter_parts(
    encoder: Embeds, shape: Sequence[int], subject: Subject, value: int = 0, column: int = 0
) -> Iterator[Part]:
    if isinstance(encoder, CombinesEncoders):
        for other in encoder.parts:
            part_shape = other.prepare(subject.image).shape
            yield from _iter_parts(other, part_shape, subject, value, column)
            value += int(np.prod(part_shape))
            column += other.space.dim
        return
    if isinstance(encoder, ViewEncoder):
        n = encoder.n_views
        part_shape = (shape[0] // n, *shape[1:])
        size = int(np.prod(part_shape))
        for i in range(n):
            for part in _iter_parts(encoder.base, part_shape, subject, value + i * size, column):
                yield Part(
                    part.network, part.normalize, part.values, part.shape, part.columns,
                    part.weight / n,
                )  # fmt: skip
        return
    assert isinstance(encoder, NetworkEncoder), "checked by has_networks"
    end = value + int(np.prod(shape))
    columns = (column, column + encoder.space.dim)
    normalize: Any = encoder.preprocess.normalize
    yield Part(open_network(encoder), normalize, (value, end), tuple(shape), columns, 1.0)


def open_network(encoder: NetworkEncoder) -> Module:
    """Return the torch network of an encoder, in float32 on the CPU; the last few are kept."""
    key = encoder.space.key
    with _NETWORKS_LOCK:
        if key not in _NETWORKS:
            network = encoder.checkpoint.build_network().eval().requires_grad_(False)
            while len(_NETWORKS) >= MAX_NETWORKS:
                del _NETWORKS[next(iter(_NETWORKS))]
            _NETWORKS[key] = network
        return _NETWORKS[key]  # type: ignore[no-any-return]


def run_backward(part: Part, subject: Subject, gradient: NDArray[np.float64]) -> Tensor:
    """Run a network forward and back for the subject's image; return its input with gradient.

    Args:
        part: The network.
        subject: The subject.
        gradient: Gradient of the log-odds by all features, `[d]`.
    """
    import torch

    x = torch.from_numpy(part.normalize(part.cut(subject.prepared[None]))).requires_grad_(True)
    with torch.enable_grad():
        features = part.network(x)
        first, last = part.columns
        weights = torch.from_numpy(part.weight * gradient[first:last]).to(features.dtype)
        (features[0] * weights).sum().backward()
    subject.n_passes += GRADIENT_PASSES
    return x


def spread_map(part: Part, values: Map, subject: Subject) -> Map:
    """Return a map `[h, w]` of what a network sees as a map of the subject's picture.

    Every pixel of the picture gets the mean of the values whose colour comes from it.
    """
    if subject.geometry.places is None:
        return np.asarray(values, np.float32)
    total = np.zeros(subject.prepared.size)
    count = np.zeros(subject.prepared.size)
    first, last = part.values
    total[first:last] = np.broadcast_to(values, part.shape).ravel()
    count[first:last] = 1.0
    sums, counts = (
        subject.geometry.collect(v.reshape(subject.prepared.shape)) for v in (total, count)
    )
    return np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
