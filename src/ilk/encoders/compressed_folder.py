"""A compressed network on disk: `compressed.json` and `network.onnx`.

The network is an ONNX model of normalized images: pruned, in 8 bits, or both. `compressed.json`
says how images are preprocessed, what the network was made from, and on which images by digest the
original was trained, if it was trained with labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.digested_json import DIGEST_KEY, check_digest, encode_digested, parse_json
from ilk.core.errors import ArtifactError, Unavailable
from ilk.core.regular_file import read_regular_file
from ilk.core.typed_values import check_type
from ilk.encoders.preprocess_entries import parse_preprocess
from ilk.hub.preprocessing import Preprocess

DESCRIPTION, NETWORK, TRAINED_ON = "compressed.json", "network.onnx", "trained_on.bin"
FORMAT = "ilk compressed network 1"
DIGEST_BYTES = 32
MAX_WIDTH = 65536


@dataclass(frozen=True, eq=False)
class CompressedNetwork:
    """What a folder of a compressed network holds.

    Attributes:
        content: The ONNX model, from normalized images `[b, 3, h, w]` to features `[b, width]`.
        preprocess: How images become its input.
        width: Number of features.
        is_int8: Whether it computes in 8 bits.
        base: `describe()` of the encoder that it was made from.
        settings: How it was made; any values of JSON.
        trained_on: SHA-256 of each image that the original was trained on with its label, `[n, 32]`
            uint8, sorted; None if it was trained on none of the user's.
    """

    content: bytes
    preprocess: Preprocess
    width: int
    is_int8: bool
    base: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    trained_on: NDArray[np.uint8] | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the ONNX model."""
        return hashlib.sha256(self.content).hexdigest()

    def to_files(self) -> dict[str, bytes]:
        """Return the contents of the folder by file name."""
        trained_on = b"" if self.trained_on is None else self.trained_on.tobytes()
        description = _Description(
            FORMAT,
            self.digest,
            self.preprocess.to_json(),
            self.width,
            self.is_int8,
            dict(self.base),
            dict(self.settings),
            None if self.trained_on is None else hashlib.sha256(trained_on).hexdigest(),
        )
        files = {NETWORK: self.content, DESCRIPTION: encode_digested(asdict(description))}
        return files if self.trained_on is None else {**files, TRAINED_ON: trained_on}


@dataclass(frozen=True)
class _Description:
    """Entries of `compressed.json`."""

    format: str
    network: str
    preprocess: dict[str, Any]
    width: int
    is_int8: bool
    base: dict[str, Any]
    settings: dict[str, Any]
    trained_on: str | None


def read_compressed(folder: Path) -> CompressedNetwork:
    """Read a folder with a compressed network.

    Raises:
        Unavailable: There is no such folder.
        ArtifactError: A file is damaged, altered or missing.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise Unavailable(
            f"{folder} holds no {DESCRIPTION}; name the folder `encoder` in a model folder that "
            "ilk compress has written"
        )
    fields = parse_json(_read(path), path)
    check_digest(fields, path)
    try:
        entries = {name: value for name, value in fields.items() if name != DIGEST_KEY}
        check_type(entries, _Description, DESCRIPTION)
        if fields["format"] != FORMAT:
            raise TypeError(f"its format is {fields['format']!r}, and this ilk reads {FORMAT!r}")
        preprocess = parse_preprocess(fields["preprocess"])
        if not 1 <= fields["width"] <= MAX_WIDTH:
            raise ValueError(f"the width is {fields['width']}")
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path} is damaged: {error}") from None
    content = _read_checked(folder / NETWORK, fields["network"])
    trained_on = None
    if fields["trained_on"] is not None:
        raw = _read_checked(folder / TRAINED_ON, fields["trained_on"])
        trained_on = np.frombuffer(raw, np.uint8).reshape(-1, DIGEST_BYTES)
    return CompressedNetwork(
        content,
        preprocess,
        fields["width"],
        fields["is_int8"],
        fields["base"],
        fields["settings"],
        trained_on,
    )


def _read_checked(path: Path, digest: str) -> bytes:
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ArtifactError(f"{path} is damaged, or belongs to another network; compress again")
    return content


def _read(path: Path) -> bytes:
    try:
        return read_regular_file(path)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from None
