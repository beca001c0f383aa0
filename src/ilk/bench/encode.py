"""How fast and how lean is encoding?

From JPEG files (500 x 400) to rows in the store, against the same network on ready tensors in the
same run; a second run on the warm store; peak memory of a process at two sizes; and the runtimes.
The network alone is given the best of several layouts (a thread a core, or all cores on one batch).
Everything that is compared is interleaved, and the processor time is told beside the clock, since a
machine is seldom alone with a benchmark.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from ilk.bench import shared
from ilk.encode import _cores, fill
from ilk.encoders import resolve
from ilk.encoders.network import Network
from ilk.encoders.runtime import RUNTIMES, Runner
from ilk.images import Images, inspect
from ilk.store import Store

WEIGHTS = "mobilenetv2_100.imagenet"
WIDTH, HEIGHT = 500, 400
TEXTURES = 40
ROUNDS = 5


def run(small: bool = False) -> dict[str, Any]:
    """Files, network, warm store, memory, runtimes."""
    weights = shared("weights", WEIGHTS)
    few, many, rounds = (24, 48, 2) if small else (2000, 20_000, ROUNDS)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "images"
        write_images(folder, many)
        images = listed(folder, few)
        result: dict[str, Any] = {"images": few, "pixels": [WIDTH, HEIGHT], "cores": _cores()}
        result["runtimes"] = runtimes(weights, images, rounds, Path(home))
        result["warm"] = warm(weights, images, Path(home))
        result["memory"] = memory(weights, folder, (few, many), Path(home))
    return result


def write_images(folder: Path, n: int, seed: int = 0) -> None:
    """`n` JPEG files of no two alike contents, like photographs in size and detail."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    textures = [_texture(rng) for _ in range(min(n, TEXTURES))]
    for i in range(n):
        shift = rng.integers(0, (HEIGHT, WIDTH))
        pixels = np.roll(textures[i % len(textures)], tuple(shift), (0, 1))
        Image.fromarray(pixels).save(folder / f"{i:05}.jpg", quality=90)


def _texture(rng: np.random.Generator) -> Any:
    """Noise of four scales, the coarser the stronger, as in natural images."""
    pixels = np.full((HEIGHT, WIDTH, 3), 128.0)
    for across, strength in ((8, 60), (25, 40), (100, 25), (400, 8)):
        grain = rng.integers(0, 256, (across * HEIGHT // WIDTH, across, 3), dtype=np.uint8)
        smooth = Image.fromarray(grain).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        pixels += strength / 128 * (np.asarray(smooth, np.float64) - 128)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def listed(folder: Path, n: int) -> Images:
    """The first `n` files."""
    return Images(None, tuple(inspect(folder / f"{i:05}.jpg") for i in range(n)))


def runtimes(weights: Path, images: Images, rounds: int, home: Path) -> list[dict[str, Any]]:
    """Each runtime: the network alone, and from files to the store; images a second."""
    encoders = {name: _encoder(weights, name) for name in RUNTIMES}
    pixels = np.stack([_pixels(encoders["torch"], images, i) for i in range(16)])
    want = encoders["torch"].embed(pixels)
    alone: dict[str, list[tuple[str, float, float]]] = {name: [] for name in encoders}
    whole: dict[str, list[tuple[float, float]]] = {name: [] for name in encoders}
    for i in range(rounds):
        part = Images(None, images.rows[i::rounds])
        for name, encoder in encoders.items():
            alone[name].append(_alone(encoder.runner(), pixels, len(part.rows)))
            store = Store(home / f"{name}-{i}.sqlite")
            whole[name].append(_rate(lambda e=encoder, s=store: fill(part, [e], s), len(part.rows)))
            store.close()
            alone[name].append(_alone(encoder.runner(), pixels, len(part.rows)))
    return [
        {
            "runtime": name,
            "relative_error": _error(encoder.embed(pixels), want),
            **_summary(alone[name], whole[name]),
        }
        for name, encoder in encoders.items()
    ]


def _summary(
    alone: list[tuple[str, float, float]], whole: list[tuple[float, float]]
) -> dict[str, Any]:
    """Medians over the rounds; each round on files lies between two of the network alone."""
    pairs = list(zip(alone[::2], alone[1::2], whole, strict=True))
    return {
        "alone_per_second": round(median(rate for _, rate, _ in alone), 2),
        "alone_layout": max(alone, key=lambda one: one[1])[0],
        "files_per_second": round(median(rate for rate, _ in whole), 2),
        "ratio": round(median(w[0] / ((a[1] + b[1]) / 2) for a, b, w in pairs), 3),
        "ratio_of_processor_time": round(median((a[2] + b[2]) / 2 / w[1] for a, b, w in pairs), 3),
    }


def _encoder(weights: Path, runtime: str) -> Network:
    encoder = resolve(f"local-dir:{weights}", device="cpu", runtime=runtime)
    assert isinstance(encoder, Network)
    encoder.load()
    return encoder


def _pixels(encoder: Network, images: Images, i: int) -> Any:
    with Image.open(images.file(images.rows[i])) as image:
        return encoder.prepare(image.convert("RGB"))


def _rate(work: Callable[[], object], n: int) -> tuple[float, float]:
    """Images a second by the clock, and processor seconds an image, of `work` on `n` images."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return n / (time.perf_counter() - clock), (time.process_time() - processor) / n


def _alone(runner: Runner, pixels: Any, n: int) -> tuple[str, float, float]:
    """The best layout of the network on tensors that are ready: its name, and its rate."""
    layouts = {f"{_cores()} threads, batch {b}": (_abreast, b) for b in (4, 8)}
    layouts |= {f"{_cores()} cores a batch of {b}": (_together, b) for b in (4, 16)}
    found = []
    for name, (layout, size) in layouts.items():
        ready = [runner.normalise(pixels[:size])]
        found.append((name, *_rate(lambda f=layout, x=ready, s=size: f(runner, x, n // s), n)))
    return max(found, key=lambda one: one[1])


def _together(runner: Runner, ready: Sequence[Any], times: int) -> None:
    for _ in range(times):
        runner.forward(ready[0])


def _abreast(runner: Runner, ready: Sequence[Any], times: int) -> None:
    import torch

    def work(share: int) -> None:
        torch.set_num_threads(1)
        _together(runner, ready, share)

    before, cores = torch.get_num_threads(), _cores()
    shares = [times // cores + (i < times % cores) for i in range(cores)]
    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.set_num_threads(before)


def _error(got: Any, want: Any) -> float:
    return float(f"{np.linalg.norm(got - want) / np.linalg.norm(want):.2g}")


def warm(weights: Path, images: Images, home: Path) -> dict[str, Any]:
    """A first run and a second on the same store, both with the features read back."""
    encoder = _encoder(weights, "torch")
    store = Store(home / "warm.sqlite")
    digests = [row.digest for row in images.rows]
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        fill(images, [encoder], store)
        store.get(encoder.space, digests)
        seconds.append(time.perf_counter() - began)
    store.close()
    first, second = seconds
    return {
        "first_seconds": round(first, 2),
        "second_seconds": round(second, 4),
        "times_faster": round(first / second),
    }


def memory(weights: Path, folder: Path, sizes: tuple[int, int], home: Path) -> dict[str, Any]:
    """Peak memory of processes that encode so many images."""
    peaks = {n: _peak(weights, folder, n, home) for n in sizes}
    few, many = sizes
    return {
        "peak_megabytes": {str(n): round(peak / 2**20, 1) for n, peak in peaks.items()},
        "growth": round(peaks[many] / peaks[few] - 1, 4),
    }


def _peak(weights: Path, folder: Path, n: int, home: Path) -> int:
    code = (
        "import sys; from ilk.bench.encode import _encode_and_tell; _encode_and_tell(*sys.argv[1:])"
    )
    arguments = [str(weights), str(folder), str(n), str(home / f"memory-{n}.sqlite")]
    command = [sys.executable, "-c", code, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _encode_and_tell(weights: str, folder: str, n: str, store: str) -> None:
    """Encode in a process of its own and print its peak memory in bytes."""
    import resource  # not on Windows, where this benchmark does not run

    fill(listed(Path(folder), int(n)), [_encoder(Path(weights), "torch")], Store(store))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak if sys.platform == "darwin" else peak * 1024)
