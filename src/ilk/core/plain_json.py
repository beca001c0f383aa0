"""JSON files for people and other programs, without a digest (see `ilk.core.digested_json`)."""

from __future__ import annotations

import json
from typing import Any


def encode_json(value: Any) -> bytes:
    """Encode a value as JSON in ASCII, so that any file name is preserved."""
    return (json.dumps(value, indent=1) + "\n").encode()
