"""How fast this machine encodes photos, and what would make it faster."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ilk.core.cores import count_cores, limit_torch_threads
from ilk.core.device import may_have_gpu
from ilk.encoders import resolve_encoder
from ilk.encoders.families import list_families
from ilk.images import decode

if TYPE_CHECKING:
    from ilk.core.capabilities import Embeds

WIDTH, HEIGHT = 300, 200  # of the photo that is encoded
OPENVINO_GAIN = 1.4  # speed with OpenVINO over that on torch, measured by the benchmark `encode`


@dataclass(frozen=True)
class EncodingSpeed:
    """A measurement of encoding.

    Attributes:
        encoder: Name of the encoder.
        runtime: What its network ran on.
        per_second: Photos that were decoded, prepared and encoded per second.
        cores: Threads at work, one per core.
    """

    encoder: str
    runtime: str
    per_second: float
    cores: int


def measure_encoding(seconds: float = 2.0) -> EncodingSpeed:
    """Encode a photo over and over with the embedded network, in the runtime that `auto` picks.

    Raises:
        Unavailable: Its weights are missing or damaged.
    """
    encoder = open_embedded()
    encoder.load()
    content, cores = _make_photo(), count_cores()
    encoder.embed(_prepare(encoder, content))  # what only the first batch costs is not measured

    def work(_thread: int) -> int:
        n, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            n += len(encoder.embed(_prepare(encoder, content)))
        return n

    with limit_torch_threads() as start, ThreadPoolExecutor(cores, "encode", start) as pool:
        started_at = time.monotonic()
        n_images = sum(pool.map(work, range(cores)))
        elapsed = time.monotonic() - started_at
    note = str(getattr(encoder, "runtime_note", ""))
    return EncodingSpeed(encoder.name, note, n_images / elapsed, cores)


def open_embedded() -> Embeds:
    """Open the cheapest default encoder with a pretrained network that needs no download.

    Raises:
        Unavailable: Its weights are missing or damaged.
    """
    family = next(f for f in list_families() if f.default and f.pretrained and not f.package)
    return resolve_encoder(family.default)


def suggest(speed: EncodingSpeed) -> str:
    """Return what would make encoding faster, as a sentence without a full stop."""
    ways = []
    if find_spec("openvino") is None and not may_have_gpu():
        ways.append(
            f"OpenVINO (pip install 'ilk[openvino]'; about {OPENVINO_GAIN} times as fast as torch)"
        )
    ways += [f"more cores than {speed.cores} (speed grows with their number)"]
    if not may_have_gpu():
        ways.append("a GPU with a build of torch that supports it")
    return "; ".join(ways)


def _prepare(encoder: Embeds, content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.stack([encoder.prepare(decode(content)) for _ in range(encoder.batch_size)])


def _make_photo() -> bytes:
    """Return a JPEG file of coarse and fine noise, in size and detail like a photograph."""
    rng = np.random.default_rng(0)
    pixels = np.full((HEIGHT, WIDTH, 3), 128.0)
    for across, strength in ((8, 60), (25, 40), (100, 25), (300, 8)):
        noise = rng.integers(0, 256, (across * HEIGHT // WIDTH, across, 3), dtype=np.uint8)
        smooth = Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        pixels += strength / 128 * (np.asarray(smooth, np.float64) - 128)
    file = BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()
