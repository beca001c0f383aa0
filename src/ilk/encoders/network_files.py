"""Files in which later processes find what is known of a network: converted ones, and plans.

One file per feature space and runtime, in the folder `networks` beside the feature store. A file
counts only if its digest is right and its stamp is the expected one; else it is written again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np

from ilk.core.atomic_write import write_atomically
from ilk.core.errors import OutputError
from ilk.store import get_default_path

FORMAT = "1"  # increment when the meaning of a file's content changes


def get_folder() -> Path:
    """Return the folder of these files."""
    return get_default_path().parent / "networks"


def read(key: str, runtime: str, stamp: str) -> tuple[bytes, str] | None:
    """Return the content of a file, and why it has none ("" if it has); None if it is not usable.

    Args:
        key: Key of the feature space: digest of weights, configuration and preprocessing.
        runtime: Name of the runtime.
        stamp: The versions that the content depends on.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(_get_path(key, runtime), "numpy") as file:
            header = file.metadata() or {}
            if header.get("stamp") != f"{FORMAT} {stamp}" or header.get("key") != key:
                return None
            content = file.get_tensor("content").tobytes()
    except (OSError, SafetensorError):
        return None
    if hashlib.sha256(content).hexdigest() != header.get("digest"):
        return None
    return content, header.get("failure", "")


def write(key: str, runtime: str, stamp: str, content: bytes, failure: str = "") -> None:
    """Keep content for later processes; a folder that cannot be written only costs time."""
    from safetensors.numpy import save as serialize

    digest = hashlib.sha256(content).hexdigest()
    header = {"stamp": f"{FORMAT} {stamp}", "key": key, "digest": digest, "failure": failure}
    tensors = {"content": np.frombuffer(content, np.uint8)}
    path = _get_path(key, runtime)
    with suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, serialize(tensors, header))


def _get_path(key: str, runtime: str) -> Path:
    return get_folder() / f"{key[:32]}.{runtime}"
