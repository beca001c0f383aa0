"""Folders that ilk writes and that hold no images: what each is, and what to do with it.

A folder is known by the content of its description, not by its name alone: a table of the user's
may be called `manifest.parquet` as well.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from ilk.core.errors import InputError
from ilk.core.regular_file import read_regular_file
from ilk.images.rows import escape_path

SHARDS = "manifest.parquet"
MAGIC, KEY = b"PAR1", b"\x03ilk\x18"  # an entry of metadata that is called `ilk`, in Thrift
LENGTH = 4  # bytes of the size of the footer, before the magic number
DESCRIPTIONS = {  # file, how its `format` begins, what the folder is, what to do
    "index.json": (
        "ilk index",
        "an index of ilk search",
        "search it with: ilk search {0} QUERY; or give the folder of its images",
    ),
    "tuned.json": (
        "ilk tuned ",
        "an encoder that was tuned",
        "use it as an encoder: --encoder tuned:{0}",
    ),
    "compressed.json": (
        "ilk compressed network",
        "a compressed network",
        "use it as an encoder: --encoder compressed:{0}",
    ),
}
MODEL = "model.json"


def is_shard_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder has a manifest of shards, also one that is cut off."""
    file = Path(path) / SHARDS
    if not file.is_file():
        return False
    try:
        with file.open("rb") as stream:
            stream.seek(-min(file.stat().st_size, LENGTH + len(MAGIC)), os.SEEK_END)
            end = stream.read()
            size = int.from_bytes(end[:LENGTH], "little")
            if not end.endswith(MAGIC) or size + len(end) > file.stat().st_size:
                return True  # cut off: said where it is read
            stream.seek(-size - len(end), os.SEEK_END)
            return KEY in stream.read(size)
    except OSError:
        return True


def check_no_ilk_folder(path: str | os.PathLike[str]) -> None:
    """Raise InputError if a folder is a shard folder, an index or a learned embedding of ilk."""
    if what := describe_ilk_folder(path):
        raise InputError(what)


def describe_ilk_folder(path: str | os.PathLike[str]) -> str:
    """Return what a shard folder, an index or a learned embedding is and is for, else ""."""
    shown = escape_path(path)
    if is_shard_folder(path):
        return (
            f"{shown} is a shard folder, which holds features and no images; give the folder of "
            f"its images, or use the features: ilk fit {shown} --out NEW, ilk search {shown} QUERY"
        )
    for name, (start, what, advice) in DESCRIPTIONS.items():
        if read_format(Path(path) / name).startswith(start):
            return f"{shown} is {what}, and holds no images; {advice.format(shown)}"
    return ""


def is_model_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder has the description of a model, also one that cannot be read."""
    file = Path(path) / MODEL
    return file.is_file() and read_format(file, unreadable="ilk").startswith("ilk")


def describe_model(path: str | os.PathLike[str]) -> str:
    """Return what to do with a folder without images that is a model folder, else ""."""
    if not is_model_folder(path):
        return ""
    shown = escape_path(path)
    return (
        f"{shown} is a model folder, and holds no images; give images, and use it with: "
        f"ilk predict {shown} IMAGES"
    )


def read_format(file: Path, unreadable: str = "") -> str:
    """Return the entry `format` of a JSON file, "" if there is none; `unreadable` if it is none."""
    try:
        fields = json.loads(read_regular_file(file))
    except OSError:
        return ""
    except (ValueError, RecursionError):
        return unreadable
    return str(fields.get("format", "")) if isinstance(fields, dict) else ""
