"""What the search for near-duplicates costs, as shares of what is done anyway, and in seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from ilk.encoders import resolve_encoder
from ilk.images import Images, decode
from ilk.images.duplicates.near_duplicates import find_near_duplicates
from ilk.images.inspection.pixel_summary import SIDE, compute_pixel_digest, summarize_pixels

SIZES = ((224, 224), (500, 375))
BATCH = 8
ENCODERS = ("efficientnet-lite0", "hog")


def measure_summaries(repeats: int) -> list[dict[str, Any]]:
    """Return the time of digest and thumbnail as shares of decoding and encoding, on one core."""
    rows = []
    for width, height in SIZES:
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        out = BytesIO()
        image.save(out, "JPEG", quality=90)
        content = out.getvalue()
        seconds = {
            "decode": _time(partial(decode, content), repeats),
            "digest": _time(partial(compute_pixel_digest, image), repeats),
            "summary": _time(partial(summarize_pixels, image), repeats),
        }
        for name in ENCODERS:
            encoder = resolve_encoder(name, images=Images(None, ()))
            encoder.load()
            prepare = _time(partial(encoder.prepare, image), repeats)
            batch = np.stack([encoder.prepare(image)] * BATCH)
            embed = _time(partial(encoder.embed, batch), repeats) / BATCH
            total = seconds["decode"] + prepare + embed
            rows.append(
                {
                    "image": f"{width} x {height} JPEG",
                    "encoder": name,
                    "digest, share of encoding": seconds["digest"] / total,
                    "digest and thumbnail, share of encoding": seconds["summary"] / total,
                }
            )
    return rows


def measure_search(sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return the seconds of a search among random pictures of which a tenth appear twice."""
    rows = []
    for n in sizes:
        rng = np.random.default_rng(n)
        cells = rng.integers(0, 256, (n, 8, 8, 3)).astype(np.float32)
        thumbnails = cells.repeat(SIDE // 8, 1).repeat(SIDE // 8, 2)
        copies = rng.permutation(n)[: 2 * (n // 10)].reshape(2, -1)
        thumbnails[copies[0]] = thumbnails[copies[1]] + rng.normal(
            0, 4, (copies.shape[1], SIDE, SIDE, 3)
        )
        pixels = np.clip(thumbnails, 0, 255).astype(np.uint8)
        start = time.perf_counter()
        found = find_near_duplicates(pixels)
        seconds = time.perf_counter() - start
        pairs = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
        truth = {(min(p), max(p)) for p in copies.T.tolist()}
        hits = len(pairs & {(int(a), int(b)) for a, b in truth})
        rows.append(
            {
                "pictures": n,
                "seconds": round(seconds, 2),
                "recall": hits / len(truth),
                "false pairs": len(pairs) - hits,
            }
        )
    return rows


def _time(call: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of a call."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))
