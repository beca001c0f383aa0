"""A learned embedding on disk: `tuned.json` and `weights.safetensors`.

`tuned.json` names the encoder whose features the embedding reads, and which images, by digest, it
was trained on: what it says about those is not what it would say about new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import ArtifactError
from ilk.encoders.tuned_files import (
    DESCRIPTION,
    WEIGHTS,
    check_entries,
    digest_arrays,
    find_known,
    pack_digests,
    read_arrays,
    read_entries,
    write_files,
)

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "DESCRIPTION",
    "FORMAT",
    "WEIGHTS",
    "TunedEmbedding",
    "pack_digests",
    "read_tuned",
    "take_weights",
    "write_tuned",
]

FORMAT = "ilk tuned encoder 1"
HEAD, CONVOLUTIONAL = "metric-head", "convolutional-embedding"
MAX_SIDE = 65536  # of any matrix of a tuned encoder


@dataclass(frozen=True, eq=False)
class TunedEmbedding:
    """What a tuned folder holds.

    Attributes:
        base: `describe()` of the encoder whose features the embedding reads.
        kind: `metric-head` or `convolutional-embedding`.
        settings: What the network of this kind is built from.
        arrays: Its weights by name.
        classes: Classes that it was trained on.
        loss: The loss that it was trained with, such as `ProxyAnchor(margin=0.1)`.
        trained_on: SHA-256 of each training image, `[n, 32]` uint8, sorted.
        compatible_with: Keys of feature spaces whose stored vectors can be compared with these.
        results: What was measured on held-out classes; any values of JSON.
    """

    base: Mapping[str, Any]
    kind: str
    settings: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    classes: tuple[str, ...] = ()
    loss: str = ""
    trained_on: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 32), np.uint8))
    compatible_with: tuple[str, ...] = ()
    results: Mapping[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Width of the embedding."""
        return int(self.settings["width"])

    def digest_weights(self) -> str:
        """Return the SHA-256 of kind, settings and weights, whatever the file's bytes."""
        return digest_arrays((self.kind, sorted(self.settings.items())), self.arrays)

    def knows(self, digests: Sequence[str]) -> NDArray[np.bool_]:
        """Whether the embedding was trained on each file, `[n]`, by SHA-256 in hexadecimal."""
        return find_known(self.trained_on, digests)

    def build_network(self) -> nn.Module:
        """Return the network, in evaluation mode: features of the base `[n, d]` to `[n, width]`.

        Raises:
            ArtifactError: The weights do not fit the settings.
        """
        import torch

        settings = dict(self.settings)
        try:
            network: nn.Module
            if self.kind == HEAD:
                from ilk.architectures.metric_head import MetricHead

                network = MetricHead(**settings)
            else:
                from ilk.architectures.convolutional_embedding import ConvolutionalEmbedding

                shape = settings.pop("shape")
                filters = tuple(settings.pop("filters"))
                network = ConvolutionalEmbedding(shape[0], shape[1:], filters=filters, **settings)
            state = {name: torch.from_numpy(np.array(a)) for name, a in self.arrays.items()}
            network.load_state_dict(state)
        except (TypeError, KeyError, IndexError, ValueError, RuntimeError) as error:
            line = str(error).splitlines()[0]
            raise ArtifactError(f"the weights of a tuned encoder do not fit: {line}") from None
        return network.eval()


@dataclass(frozen=True)
class _Description:
    """Entries of `tuned.json`."""

    format: str
    base: dict[str, Any]
    kind: str
    settings: dict[str, Any]
    classes: list[str]
    loss: str
    compatible_with: list[str]
    results: dict[str, Any]
    weights: str


def take_weights(network: nn.Module) -> tuple[str, dict[str, Any], dict[str, NDArray[Any]]]:
    """Return kind, settings and weights (arrays `[...]` by name) for a `TunedEmbedding`.

    Raises:
        TypeError: It is not a network that a tuned folder can hold.
    """
    from ilk.architectures.convolutional_embedding import ConvolutionalEmbedding
    from ilk.architectures.metric_head import MetricHead

    arrays = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    if isinstance(network, MetricHead):
        width, d = network.linear.weight.shape
        hidden = 0 if network.inner is None else network.inner.out_features
        return HEAD, {"d": d, "width": width, "hidden": hidden}, arrays
    if isinstance(network, ConvolutionalEmbedding):
        settings = {
            "shape": list(network.shape),
            "width": network.linear.out_features,
            "filters": list(network.filters),
        }
        return CONVOLUTIONAL, settings, arrays
    raise TypeError(f"a tuned folder cannot hold a {type(network).__name__}")


def write_tuned(folder: Path, embedding: TunedEmbedding) -> None:
    """Write a tuned folder; it is the old one or the new one, whenever the process is killed.

    Raises:
        OutputError: It cannot be written.
    """
    entries = {
        "format": FORMAT,
        "base": dict(embedding.base),
        "kind": embedding.kind,
        "settings": dict(embedding.settings),
        "classes": list(embedding.classes),
        "loss": embedding.loss,
        "compatible_with": list(embedding.compatible_with),
        "results": dict(embedding.results),
    }
    write_files(folder, entries, embedding.arrays, embedding.trained_on)


def read_tuned(folder: Path) -> TunedEmbedding:
    """Read a tuned folder.

    Raises:
        Unavailable: There is no such folder.
        ArtifactError: A file is damaged, altered or missing.
    """
    fields = read_entries(folder)
    check_entries(fields, _Description, folder)
    if fields["format"] != FORMAT or fields["kind"] not in (HEAD, CONVOLUTIONAL):
        raise ArtifactError(
            f"{folder} has the format {fields['format']!r} and holds a {fields['kind']!r}, which "
            "this version of ilk does not know; use the version that wrote it"
        )
    arrays, trained_on = read_arrays(folder, fields["weights"])
    numbers = [v for v in fields["settings"].values() if isinstance(v, int)]
    if any(not 0 <= v <= MAX_SIDE for v in numbers) or not fields["settings"].get("width", 0) >= 1:
        raise ArtifactError(f"{folder / WEIGHTS} is damaged: a size is out of range")
    return TunedEmbedding(
        fields["base"],
        fields["kind"],
        fields["settings"],
        arrays,
        tuple(fields["classes"]),
        fields["loss"],
        trained_on,
        tuple(fields["compatible_with"]),
        fields["results"],
    )
