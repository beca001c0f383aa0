"""Messages between the server and a process that decodes: a JSON head and bytes after it."""

from __future__ import annotations

import json
import struct
from typing import IO, Any

HEAD = struct.Struct("<IQ")  # bytes of the JSON, bytes after it


def write_message(stream: IO[bytes], head: Any, body: bytes | memoryview = b"") -> None:
    """Write one message and flush it.

    Raises:
        OSError: The other side is gone.
    """
    text = json.dumps(head).encode()
    stream.write(HEAD.pack(len(text), len(body)))
    stream.write(text)
    stream.write(body)
    stream.flush()


def read_message(stream: IO[bytes]) -> tuple[Any, bytes]:
    """Return head and body of the next message.

    Raises:
        EOFError: The other side is gone.
    """
    head_size, body_size = HEAD.unpack(_read(stream, HEAD.size))
    return json.loads(_read(stream, head_size)), _read(stream, body_size)


def _read(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if content is None or len(content) < size:
        raise EOFError("the other side is gone")
    return content
