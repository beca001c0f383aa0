"""A folder of coloured shapes to label, and the server that labels it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

COLORS = {"red": (200, 40, 40), "green": (40, 170, 60), "blue": (50, 70, 200)}
ENCODER = "pixels/8x8x3"


def write_shapes(folder: Path, n: int, seed: int = 0) -> dict[str, str]:
    """Write `n` pictures of discs whose names say nothing; return the class of each by name."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    truth = {}
    for i in range(n):
        name, color = list(COLORS.items())[int(rng.integers(len(COLORS)))]
        noise = rng.integers(0, 60, (48, 48, 3)).astype(np.uint8)
        image = Image.fromarray(noise)
        x, y, r = (int(v) for v in rng.integers((14, 14, 9), (34, 34, 14)))
        shade = tuple(int(np.clip(c + rng.integers(-25, 25), 0, 255)) for c in color)
        ImageDraw.Draw(image).ellipse((x - r, y - r, x + r, y + r), fill=shade)
        path = folder / f"image-{i:03}.png"
        image.save(path)
        truth[path.name] = name
    return truth


class LabellingServer:
    """`ilk label` in a process of its own.

    Attributes:
        address: Address of the page, `http://127.0.0.1:PORT/label`.
        errors: Lines of standard error so far.
    """

    def __init__(self, folder: Path, *options: str, port: int = 0, encoder: str = ENCODER) -> None:
        command = [sys.executable, "-m", "ilk", "label", str(folder), "--no-browser"]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), "--encoder", encoder, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self.process.stdout is not None
        self.errors: list[str] = []
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, [line, *self.errors]
        self.address = found[0]

    @property
    def port(self) -> int:
        return int(self.address.split(":")[2].split("/")[0])

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def kill(self) -> None:
        """End the process at once, as `kill -9` does."""
        self._end(signal.SIGKILL)

    def stop(self) -> str:
        """Stop the process as Ctrl-C does; return the rest of standard error."""
        self._end(signal.SIGINT)
        return "".join(self.errors)

    def _end(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(60)
        self._reader.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def serve_folder(folder: Path, *options: str, **settings: Any) -> Iterator[LabellingServer]:
    """Serve a folder until the block ends."""
    server = LabellingServer(folder, *options, **settings)
    try:
        yield server
    finally:
        server.kill()
