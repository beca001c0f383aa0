"""A learned embedding on disk: `tuned.json` and `weights.safetensors`.

`tuned.json` names the encoder whose features the embedding reads, and which images, by digest, it
was trained on: what it says about those is not what it would say about new ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.digested_json import DIGEST_KEY, check_digest, encode_digested, parse_json
from ilk.core.errors import ArtifactError, Unavailable
from ilk.core.folder_transaction import FolderTransaction, finish_commit, lock_folder
from ilk.core.regular_file import read_regular_file
from ilk.core.typed_values import check_type

if TYPE_CHECKING:
    from torch import nn

DESCRIPTION, WEIGHTS = "tuned.json", "weights.safetensors"
FORMAT = "ilk tuned encoder 1"
HEAD, CONVOLUTIONAL = "metric-head", "convolutional-embedding"
MAX_SIDE = 65536  # of any matrix of a tuned encoder
_TRAINED = "trained_on"


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
        digest = hashlib.sha256(repr((self.kind, sorted(self.settings.items()))).encode())
        for name, array in sorted(self.arrays.items()):
            digest.update(repr((name, array.shape, str(array.dtype))).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def knows(self, digests: Sequence[str]) -> NDArray[np.bool_]:
        """Whether the embedding was trained on each file, `[n]`, by SHA-256 in hexadecimal."""
        known = {row.tobytes() for row in self.trained_on}
        return np.array([bytes.fromhex(d) in known for d in digests], bool)

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
        TypeError: It is no network that a tuned folder can hold.
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


def pack_digests(digests: Sequence[str]) -> NDArray[np.uint8]:
    """Return SHA-256 digests in hexadecimal as `[n, 32]` uint8, sorted, each once."""
    joined = b"".join(bytes.fromhex(d) for d in sorted(set(digests)))
    return np.frombuffer(joined, np.uint8).reshape(-1, 32)


def write_tuned(folder: Path, embedding: TunedEmbedding) -> None:
    """Write a tuned folder; it is the old one or the new one, whenever the process is killed.

    Raises:
        OutputError: It cannot be written.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(a) for name, a in embedding.arrays.items()}
    weights = save({**arrays, _TRAINED: np.ascontiguousarray(embedding.trained_on)})
    description = _Description(
        FORMAT,
        dict(embedding.base),
        embedding.kind,
        dict(embedding.settings),
        list(embedding.classes),
        embedding.loss,
        list(embedding.compatible_with),
        dict(embedding.results),
        hashlib.sha256(weights).hexdigest(),
    )
    with lock_folder(folder):
        transaction = FolderTransaction(folder)
        transaction.write(WEIGHTS, weights)
        transaction.write(DESCRIPTION, encode_digested(asdict(description)))
        transaction.commit()


def read_tuned(folder: Path) -> TunedEmbedding:
    """Read a tuned folder.

    Raises:
        Unavailable: There is no such folder.
        ArtifactError: A file is damaged, altered or missing.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if folder.is_dir():
        finish_commit(folder)
    if not (folder / DESCRIPTION).is_file():
        raise Unavailable(
            f"{folder} holds no {DESCRIPTION}; name a folder that ilk learn-metric has written"
        )
    fields = parse_json(_read(folder / DESCRIPTION), folder / DESCRIPTION)
    check_digest(fields, folder / DESCRIPTION)
    try:
        entries = {name: value for name, value in fields.items() if name != DIGEST_KEY}
        check_type(entries, _Description, DESCRIPTION)
    except TypeError as error:
        raise ArtifactError(f"{folder / DESCRIPTION} is damaged: {error}") from None
    if fields["format"] != FORMAT or fields["kind"] not in (HEAD, CONVOLUTIONAL):
        raise ArtifactError(
            f"{folder} has the format {fields['format']!r} and holds a {fields['kind']!r}, which "
            "this version of ilk does not know; use the version that wrote it"
        )
    content = _read(folder / WEIGHTS)
    if hashlib.sha256(content).hexdigest() != fields["weights"]:
        raise ArtifactError(f"{folder / WEIGHTS} is damaged, or belongs to another encoder")
    try:
        arrays = load(content)
        trained_on = arrays.pop(_TRAINED)
        if trained_on.dtype != np.uint8 or trained_on.shape[1:] != (32,):
            raise ValueError(f"{_TRAINED} has the shape {trained_on.shape}")
        numbers = [v for v in fields["settings"].values() if isinstance(v, int)]
        if any(not 0 <= v <= MAX_SIDE for v in numbers) or not fields["settings"]["width"] >= 1:
            raise ValueError("a size is out of range")
    except (SafetensorError, KeyError, ValueError) as error:
        raise ArtifactError(f"{folder / WEIGHTS} is damaged: {error}") from None
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


def _read(path: Path) -> bytes:
    try:
        return read_regular_file(path)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from None
