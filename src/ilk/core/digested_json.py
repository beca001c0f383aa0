"""Read and write JSON objects with a digest, so that an altered file is noticed.

The digest is not a signature: whoever can write the file can also write the digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ilk.core.atomic_write import write_atomically
from ilk.core.errors import ArtifactError

DIGEST_KEY = "digest"


def compute_digest(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the fields, the digest itself excepted."""
    undigested = {key: value for key, value in fields.items() if key != DIGEST_KEY}
    return hashlib.sha256(json.dumps(undigested, sort_keys=True).encode()).hexdigest()


def encode_digested(fields: Mapping[str, Any]) -> bytes:
    """Return the fields with their digest as the content of a JSON file, in ASCII.

    Numbers that are not finite, which JSON does not have, become null: a result that could not be
    measured does not cost what was computed for hours.

    Raises:
        TypeError: A value is not one of JSON's.
    """
    plain = json.loads(json.dumps(fields), parse_constant=lambda _name: None)
    plain[DIGEST_KEY] = compute_digest(plain)
    return (json.dumps(plain, indent=1) + "\n").encode()


def write_json(path: Path, fields: Mapping[str, Any]) -> None:
    """Write the fields with their digest, atomically.

    Raises:
        OutputError: The file cannot be written.
    """
    write_atomically(path, encode_digested(fields))


def parse_json(content: bytes, path: Path) -> dict[str, Any]:
    """Return the fields of a JSON object, digest included but not compared.

    Raises:
        ArtifactError: The content is no JSON object, or holds a number that is not finite.
    """
    try:
        fields = json.loads(content, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ArtifactError(f"{path} is damaged: {why}") from None
    if not isinstance(fields, dict):
        raise ArtifactError(f"{path} is damaged: it holds no JSON object")
    return fields


def check_digest(fields: Mapping[str, Any], path: Path) -> None:
    """Raise ArtifactError if the fields are not those that were written."""
    if fields.get(DIGEST_KEY) != compute_digest(fields):
        raise ArtifactError(f"{path} was altered after it was saved, or is damaged")


def refuse_constant(name: str) -> NoReturn:
    """Raise ValueError: `name` is nan or infinity, which JSON does not have; for `json.loads`."""
    raise ValueError(f"{name} is not a JSON number")
