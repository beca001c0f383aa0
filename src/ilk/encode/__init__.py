"""Fill the feature store: each file is decoded once for all encoders that need it."""

from __future__ import annotations

from ilk.encode.encode_task import Failures
from ilk.encode.fill_store import encode_and_refuse, encode_images

__all__ = ["Failures", "encode_and_refuse", "encode_images"]
