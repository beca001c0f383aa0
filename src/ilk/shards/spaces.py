"""The folder of one encoder's features in a shard folder, and which encoder that is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ilk.core.capabilities import Embeds
from ilk.core.digested_json import check_digest, parse_json, write_json
from ilk.core.errors import ArtifactError, InputError
from ilk.core.regular_file import read_regular_file
from ilk.core.space import FeatureSpace
from ilk.images.rows import escape_path
from ilk.shards.parquet_files import FORMAT, make_folder

FEATURES = "features"
SPACE_FILE = "space.json"
DType = Literal["float32", "float16"]
DTYPES: tuple[DType, ...] = ("float32", "float16")


@dataclass(frozen=True)
class ShardSpace:
    """The features of one encoder.

    Attributes:
        home: Their folder.
        name: Name of the encoder.
        key: Key of its space: of encoder, weights, preprocessing and precision.
        d: Number of features.
        dtype: How they are stored.
        encoder: What `Embeds.describe` returned, for `restore_encoder`; {} if unknown.
    """

    home: Path
    name: str
    key: str
    d: int
    dtype: DType
    encoder: dict[str, Any]

    @property
    def space(self) -> FeatureSpace:
        """The space of these features."""
        return FeatureSpace(self.key, self.name, self.d)

    def part_path(self, i: int) -> Path:
        """Return the path of the part of shard `i`."""
        return self.home / f"part-{i:05}.parquet"


def open_space(folder: Path, encoder: Embeds, dtype: str = "float32") -> ShardSpace:
    """Return the folder of an encoder's features, created if missing.

    Raises:
        InputError: `dtype` is unknown, or not that of the features that are there.
        ArtifactError: The folder has features of the same encoder with other weights.
        OutputError: The folder cannot be written.
    """
    return open_named_space(folder, encoder.space, dtype, encoder.describe())


def open_named_space(
    folder: Path, space: FeatureSpace, dtype: str, encoder: dict[str, Any]
) -> ShardSpace:
    """Return the folder of the features of a space, as `open_space`."""
    if dtype not in DTYPES:
        raise InputError(f"features are stored as float32 or float16, not as {dtype}")
    for found in list_spaces(folder):
        if found.key == space.key:
            if found.dtype != dtype:
                raise InputError(
                    f"{escape_path(found.home)} holds features as {found.dtype}; leave --dtype "
                    f"{dtype} out, or encode into another folder"
                )
            return found
        if found.name == space.name:
            raise ArtifactError(
                f"{escape_path(folder)} holds features of {found.name} with different weights, "
                "preprocessing or precision than this machine's; use the same files and options, "
                "or encode into another folder"
            )
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", space.name).strip("-.")[:60]
    home = make_folder(folder / FEATURES / f"{slug}-{space.key[:12]}")
    made = ShardSpace(home, space.name, space.key, space.dim, dtype, encoder)
    write_json(
        home / SPACE_FILE,
        {
            "format": FORMAT,
            "name": made.name,
            "key": made.key,
            "d": made.d,
            "dtype": made.dtype,
            "encoder": encoder,
        },
    )
    return made


def list_spaces(folder: Path) -> list[ShardSpace]:
    """Return the spaces that a shard folder has features of, sorted by folder.

    Raises:
        ArtifactError: The file that names one is damaged.
    """
    return [
        _read_space(path.parent) for path in sorted((folder / FEATURES).glob(f"*/{SPACE_FILE}"))
    ]


def _read_space(home: Path) -> ShardSpace:
    path = home / SPACE_FILE
    try:
        fields = parse_json(read_regular_file(path), path)
    except OSError as error:
        raise ArtifactError(f"{escape_path(path)} cannot be read: {error.strerror}") from None
    check_digest(fields, path)
    if fields.get("format") != FORMAT or fields.get("dtype") not in DTYPES:
        raise ArtifactError(
            f"{escape_path(path)} has format {fields.get('format')}, and this version of ilk reads "
            f"format {FORMAT}; use the version that wrote it"
        )
    return ShardSpace(
        home,
        str(fields["name"]),
        str(fields["key"]),
        int(fields["d"]),
        fields["dtype"],
        dict(fields.get("encoder") or {}),
    )


def find_space(folder: Path, name: str, resolve: Callable[[str], Embeds]) -> ShardSpace:
    """Return the space of an encoder that may be named in short, as `hog` for `hog/32`.

    Args:
        folder: The shard folder.
        name: As in `choose_space`, or a short name.
        resolve: Opens the encoder of a short name.

    Raises:
        InputError: The folder has no features of it.
    """
    spaces = list_spaces(folder)
    if spaces and not any(name in (one.name, one.key, one.home.name) for one in spaces):
        key = resolve(name).space.key
        if any(one.key == key for one in spaces):
            return choose_space(folder, key)
    return choose_space(folder, name)


def choose_space(folder: Path, name: str | None = None) -> ShardSpace:
    """Return the only space of a shard folder, or the one called `name`.

    Args:
        folder: The shard folder.
        name: Name of the encoder, or its beginning up to a "/", such as hog for hog/32; key of its
            space; or name of the folder of its features.

    Raises:
        InputError: There is none, or several and no name.
    """
    spaces = list_spaces(folder)
    if not spaces:
        raise InputError(
            f"{escape_path(folder)} holds no features yet; run: ilk encode {escape_path(folder)} "
            "--encoder NAME"
        )
    if name is not None:
        found = [s for s in spaces if name in (s.name, s.key, s.home.name)]
        found = found or [s for s in spaces if s.name.startswith(f"{name}/")]
        if not found:
            names = ", ".join(s.name for s in spaces)
            raise InputError(f"{escape_path(folder)} has no features of {name}; it has {names}")
        spaces = found
    if len(spaces) > 1:
        names = ", ".join(s.name for s in spaces)
        raise InputError(
            f"{escape_path(folder)} has features of {len(spaces)} encoders ({names}); name one "
            "with --encoder NAME (encoder=)"
        )
    return spaces[0]
