"""Addresses of images in buckets, such as `s3://bucket/cat/1.jpg`."""

from __future__ import annotations

import os
import re

PROTOCOLS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "memory")
ADDRESS = re.compile(rf"({'|'.join(PROTOCOLS)})://[^\s:]")


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address in a bucket, which fsspec reads.

    >>> is_address("s3://bucket/1.jpg"), is_address("photos/1.jpg")
    (True, False)
    """
    return isinstance(path, str) and ADDRESS.match(path) is not None and "::" not in path
