"""Encoders whose files lie in the model folder itself, so that the folder is complete and movable.

Such an encoder has `get_model_files`. Its files are written to the subfolder `encoder` with the
model, in one step; its entry in `model.json` names that subfolder (`inside`) and the files, and its
name has the subfolder as path, which becomes that of the model folder when a model is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ilk.core.capabilities import CombinesEncoders, Embeds, KeepsFiles
from ilk.core.errors import ArtifactError
from ilk.core.regular_file import read_regular_file
from ilk.encoders.variants import split_variant
from ilk.encoders.views import ViewEncoder

INSIDE, FILES = "inside", "files"
SUBFOLDER = re.compile(r"encoder(-[0-9]{1,3})?")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def collect_files(encoder: Embeds) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the description of an encoder for `model.json`, and the files to write beside it.

    The names of the files are relative to the model folder, such as `encoder/network.onnx`.
    """
    description, files = encoder.describe(), dict[str, bytes]()
    if isinstance(encoder, CombinesEncoders):
        parts = []
        for number, part in enumerate(encoder.parts, 1):
            subfolder = "encoder" if number == 1 else f"encoder-{number}"
            described, part_files = _collect(part, subfolder)
            parts.append(described)
            files |= part_files
        return {**description, "parts": parts}, files
    return _collect(encoder, "encoder")


def _collect(encoder: Embeds, subfolder: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    description = encoder.describe()
    keeper = encoder.base if isinstance(encoder, ViewEncoder) else encoder
    if not isinstance(keeper, KeepsFiles):
        return description, {}
    files = {f"{subfolder}/{name}": content for name, content in keeper.get_model_files().items()}
    entries = {k: v for k, v in description.items() if k != "folder"}
    name = _replace_path(encoder.name, subfolder)
    return {**entries, "name": name, INSIDE: subfolder, FILES: sorted(files)}, files


def _replace_path(name: str, path: str) -> str:
    """Return the name of an encoder with another folder: `tuned:PATH@views=3`."""
    plain, variant = split_variant(name)
    family = plain.partition(":")[0]
    return f"{family}:{path}" + (f"@{variant}" if str(variant) else "")


def locate_files(description: Mapping[str, Any], home: Path) -> dict[str, Any]:
    """Return the description of a model's encoder with the folder where its files are.

    Args:
        description: The entry of `model.json`.
        home: The model folder.

    Raises:
        ValueError: The description names a file that is not in a subfolder of the model folder.
    """
    if parts := description.get("parts"):
        return {**description, "parts": [locate_files(part, home) for part in parts]}
    if INSIDE not in description:
        return dict(description)
    _check_names(description)
    folder = (home / description[INSIDE]).absolute()
    name = _replace_path(str(description["name"]), str(folder))
    return {**description, "name": name, "folder": str(folder)}


def list_files(description: Mapping[str, Any]) -> list[str]:
    """Return the files of a model's encoder, relative to the model folder.

    Raises:
        ValueError: As `locate_files`.
    """
    return [name for part in _iter_parts(description) for name in part.get(FILES, ())]


def read_files(description: Mapping[str, Any], home: Path) -> dict[str, bytes]:
    """Return the contents of the files of a model's encoder, by name.

    Raises:
        ArtifactError: One cannot be read.
        ValueError: As `locate_files`.
    """
    contents = {}
    for name in list_files(description):
        try:
            contents[name] = read_regular_file(home / name)
        except OSError as error:
            raise ArtifactError(
                f"cannot read {home / name}, which is part of the model: {error.strerror or error}"
            ) from None
    return contents


def _iter_parts(description: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for part in description.get("parts") or [description]:
        _check_names(part)
        yield part


def _check_names(description: Mapping[str, Any]) -> None:
    """Raise ValueError unless all files lie in the subfolder: the folder may be someone else's."""
    subfolder, files = description.get(INSIDE), description.get(FILES, [])
    if subfolder is None and not files:
        return
    if not isinstance(subfolder, str) or not SUBFOLDER.fullmatch(subfolder):
        raise ValueError(f"the encoder lies in {subfolder!r}, which is not a subfolder of a model")
    for name in files:
        start, _, rest = str(name).partition("/")
        if start != subfolder or not FILE_NAME.fullmatch(rest):
            raise ValueError(f"{name!r} is not a file of the encoder")
