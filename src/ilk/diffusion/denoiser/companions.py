"""Tie the files beside a diffusion model to its network.

Errors, heads and search results are those of one network: beside another they would be used in
silence. Each records the digest of the network's arrays, as `diffusion.json` has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ilk.core.digested_json import parse_json
from ilk.core.errors import ArtifactError

JSON = "diffusion.json"
NETWORK_KEY = "network"  # in the metadata of a file beside the model


def read_entry(folder: Path, name: str) -> str | None:
    """Return a digest that the description in `folder` records; None without one.

    Raises:
        ArtifactError: The description cannot be read.
    """
    path = folder / JSON
    try:
        entry = parse_json(path.read_bytes(), path).get(name)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}") from error
    return entry if isinstance(entry, str) else None


def name_network(folder: Path) -> dict[str, str]:
    """Return metadata that ties a file to the network in `folder`; empty if there is none."""
    digest = read_entry(folder, "arrays")
    return {} if digest is None else {NETWORK_KEY: digest}


def check_network(metadata: Mapping[str, Any], path: Path) -> None:
    """Check that the file at `path` belongs to the network beside it.

    Raises:
        ArtifactError: It belongs to another.
    """
    recorded = metadata.get(NETWORK_KEY)
    if recorded is not None and recorded != read_entry(path.parent, "arrays"):
        raise ArtifactError(f"{path} belongs to a different network than {JSON}; pretrain again")
