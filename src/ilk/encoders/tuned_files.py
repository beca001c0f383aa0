"""The files of a tuned folder, `tuned.json` and `weights.safetensors`, whatever they describe.

Both have digests, and are replaced in one step. Beside the weights stand the digests of the images
that were trained on: what an encoder says about those is not what it would say about new ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.digested_json import DIGEST_KEY, check_digest, encode_digested, parse_json
from ilk.core.errors import ArtifactError, OutputError, Unavailable
from ilk.core.folder_transaction import FolderTransaction, finish_commit, lock_folder
from ilk.core.leftovers import is_leftover
from ilk.core.regular_file import read_regular_file
from ilk.core.typed_values import check_type
from ilk.images.sources.ilk_folders import MODEL, read_format

DESCRIPTION, WEIGHTS = "tuned.json", "weights.safetensors"
TRAINED_ON = "trained_on"
Arrays = Mapping[str, NDArray[Any]]


def pack_digests(digests: Sequence[str]) -> NDArray[np.uint8]:
    """Return SHA-256 digests in hexadecimal as `[n, 32]` uint8, sorted, each once."""
    joined = b"".join(bytes.fromhex(d) for d in sorted(set(digests)))
    return np.frombuffer(joined, np.uint8).reshape(-1, 32)


def merge_digests(*parts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what `pack_digests` would return for the files of all parts, each `[n, 32]`."""
    return np.unique(np.concatenate(parts), axis=0)


def find_known(
    trained_on: NDArray[np.uint8],
    digests: Sequence[str],
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Return whether each file, or another of its group, was trained on, `[n]`.

    Args:
        trained_on: What `pack_digests` returned for the files that were trained on, `[m, 32]`.
        digests: SHA-256 of each file, in hexadecimal.
        groups: Group of each file, `[n]`, -1 for a group of its own; None makes every file one.
    """
    known = {row.tobytes() for row in trained_on}
    is_known = np.array([bytes.fromhex(d) in known for d in digests], bool)
    if groups is not None:
        known_groups = groups[is_known]
        is_known = is_known | np.isin(groups, known_groups[known_groups >= 0])
    return is_known


class KeepsTrainingDigests:
    """A network, or its encoder, that was trained with labels and keeps the digests of the images.

    It has `trained_on`, what `pack_digests` returned for the files that were trained on, `[m, 32]`.
    """

    if TYPE_CHECKING:

        @property
        def trained_on(self) -> NDArray[np.uint8]: ...

    def is_held_out(
        self, digests: Sequence[str], groups: NDArray[np.int64] | None = None
    ) -> NDArray[np.bool_]:
        """Return whether it was trained on no file of an image or its group, `[n]`.

        Args:
            digests: SHA-256 of each file.
            groups: Group of each file, `[n]`, -1 for a group of its own; None makes every file one.
        """
        return ~find_known(self.trained_on, digests, groups)


def digest_arrays(head: object, arrays: Arrays) -> str:
    """Return the SHA-256 of arrays `[...]` and of what `repr` says of `head`."""
    digest = hashlib.sha256(repr(head).encode())
    for name, array in sorted(arrays.items()):
        digest.update(repr((name, array.shape, str(array.dtype))).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def encode_files(
    entries: Mapping[str, Any], arrays: Arrays, trained_on: NDArray[np.uint8]
) -> dict[str, bytes]:
    """Return the contents of the two files, by name.

    Args:
        entries: What `tuned.json` holds; `weights`, the digest of the other file, is added.
        arrays: Weights by name, `[...]`.
        trained_on: Digests of the training images, `[n, 32]`.
    """
    from safetensors.numpy import save

    # Not ascontiguousarray: it gives a number, as batch normalization has one, an axis.
    plain = {name: np.array(array, order="C") for name, array in arrays.items()}
    weights = save({**plain, TRAINED_ON: np.ascontiguousarray(trained_on)})
    digested = {**entries, "weights": hashlib.sha256(weights).hexdigest()}
    return {WEIGHTS: weights, DESCRIPTION: encode_digested(digested)}


def write_files(
    folder: Path, entries: Mapping[str, Any], arrays: Arrays, trained_on: NDArray[np.uint8]
) -> None:
    """Write a tuned folder; it is the old one or the new one, whenever the process is killed.

    Args:
        folder: The folder; it is made if missing.
        entries: As in `encode_files`, as are the others.
        arrays: `[...]` each.
        trained_on: `[n, 32]`.

    Raises:
        OutputError: It cannot be written.
    """
    with lock_folder(folder):
        transaction = FolderTransaction(folder)
        for name, content in encode_files(entries, arrays, trained_on).items():
            transaction.write(name, content)
        transaction.commit()


def check_tuned_folder(folder: Path, form: str, what: str, own: Collection[str] = ()) -> Path:
    """Return `folder` if it can be written to: it is new, empty, or holds one of the same format.

    Args:
        folder: The folder.
        form: The format that its description may have.
        what: What that is, for the message, such as "tuned network".
        own: Names of further files that an unfinished run leaves there.

    Raises:
        OutputError: It holds other files, or cannot be read.
    """
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise OutputError(
            f"cannot write to {folder}: {error.strerror}; choose another folder with --out"
        ) from error
    strangers = {n for n in names - {DESCRIPTION, WEIGHTS, *own} if not is_leftover(n)}
    is_tuned = read_format(folder / DESCRIPTION, unreadable=form) == form
    if (strangers or names & {DESCRIPTION, WEIGHTS}) and not is_tuned:
        raise OutputError(
            f"{folder} contains files that are not a {what}; choose an empty folder with --out"
        )
    check_is_no_part(folder)
    return folder


def check_is_no_part(folder: Path) -> None:
    """Check that a tuned folder does not lie in a model folder, whose encoder it may be.

    Raises:
        OutputError: It does; the model would not load again, or answer as before.
    """
    home = folder.absolute().parent
    if (home / MODEL).is_file():
        raise OutputError(
            f"{folder} lies in {home}, a model folder, which holds its encoder there; choose "
            "another folder with --out"
        )


def read_entries(folder: Path) -> dict[str, Any]:
    """Return what `tuned.json` holds, its digest compared and left out; types are not checked.

    Raises:
        Unavailable: There is no such folder.
        ArtifactError: The file is damaged or altered.
    """
    if folder.is_dir():
        finish_commit(folder)
    path = folder / DESCRIPTION
    if not path.is_file():
        raise Unavailable(
            f"{folder} holds no {DESCRIPTION}; name a folder that ilk finetune or ilk learn-metric "
            "has written"
        )
    fields = parse_json(_read(path), path)
    check_digest(fields, path)
    return {name: value for name, value in fields.items() if name != DIGEST_KEY}


def check_entries(entries: Mapping[str, Any], schema: type, folder: Path) -> None:
    """Raise ArtifactError if entries of `tuned.json` have other names or types than a dataclass."""
    try:
        check_type(dict(entries), schema, DESCRIPTION)
    except TypeError as error:
        raise ArtifactError(f"{folder / DESCRIPTION} is damaged: {error}") from None


def read_arrays(folder: Path, digest: str) -> tuple[dict[str, NDArray[Any]], NDArray[np.uint8]]:
    """Return the weights by name, `[...]`, and the digests of the training images, `[n, 32]`.

    Raises:
        ArtifactError: The file is damaged, altered, missing, or not the one with that digest.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = _read(folder / WEIGHTS)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ArtifactError(f"{folder / WEIGHTS} is damaged, or belongs to another encoder")
    try:
        arrays = dict(sorted(load(content).items()))  # which come in any order
        trained_on = arrays.pop(TRAINED_ON)
    except (SafetensorError, KeyError, ValueError) as error:
        raise ArtifactError(f"{folder / WEIGHTS} is damaged: {error}") from None
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        raise ArtifactError(f"{folder / WEIGHTS} holds values that are not finite; tune it again")
    if trained_on.dtype != np.uint8 or trained_on.shape[1:] != (32,):
        raise ArtifactError(
            f"{folder / WEIGHTS} is damaged: {TRAINED_ON} has the shape {trained_on.shape}"
        )
    return arrays, trained_on


def _read(path: Path) -> bytes:
    try:
        return read_regular_file(path)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from None
