"""The feature store: every image is encoded once per encoder.

One SQLite file in the user's cache folder (`ILK_STORE` sets another). SQLite provides the
guarantees: a row is complete or absent whenever a process is killed, several processes may write at
once, and only requested rows are in memory.

A row's address is a *space* (digest of encoder, weights, preprocessing and precision) and the
digest of the image file's bytes. Beside it stand what decoding the file gave: whether it can be
decoded, and a summary of its pixels. Each row has a checksum of its address and its values: a
damaged row counts as missing and is made again.
"""

from __future__ import annotations

from ilk.store.database import get_default_path
from ilk.store.store import Store

__all__ = ["Store", "get_default_path"]
