"""How fast is encoding?

From JPEG files (500 x 400) to rows in the store, against the same network on ready tensors in the
same run; a second run on the warm store; and the runtimes. The network alone is run plainly, as
torch does by itself (all cores on a batch of 16), and at the best of several layouts (a thread a
core on small batches among them).
Everything that is compared is interleaved, and the processor time is told beside the clock, since a
machine is seldom alone with a benchmark.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from ilk.bench import shared
from ilk.encode import cores, fill
from ilk.encoders import resolve
from ilk.encoders.network import Network
from ilk.encoders.runtime import RUNTIMES, Runner
from ilk.images import Images, inspect
from ilk.store import Store

WEIGHTS = "mobilenetv2_100.imagenet"
WIDTH, HEIGHT = 500, 400
TEXTURES = 40
ROUNDS = 5

PLAIN = "all cores, batch 16"

Rate = tuple[float, float]  # images a second by the clock, processor seconds an image


def run(small: bool = False) -> dict[str, Any]:
    """Files, network, warm store, runtimes."""
    weights = shared("weights", WEIGHTS)
    n, rounds = (16, 2) if small else (2000, ROUNDS)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "images"
        write_images(folder, n)
        images = listed(folder, n)
        result: dict[str, Any] = {"images": n, "pixels": [WIDTH, HEIGHT], "cores": cores()}
        result["runtimes"] = runtimes(weights, images, rounds, Path(home))
        result["warm"] = warm(weights, images, Path(home))
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
    """Each runtime: the network alone, and from files to the store."""
    encoders = {name: _encoder(weights, name) for name in RUNTIMES}
    pixels = np.stack([_pixels(encoders["torch"], images, i) for i in range(16)])
    want = encoders["torch"].embed(pixels)
    probe = min(64, len(images.rows) // rounds)
    layouts = {name: _best_layout(e.runner(), pixels, probe) for name, e in encoders.items()}
    seen: dict[str, list[tuple[Rate, Rate, Rate, Rate]]] = {name: [] for name in encoders}
    for i in range(rounds):
        part = Images(None, images.rows[i::rounds])
        n = len(part.rows)
        for name, encoder in encoders.items():
            store = Store(home / f"{name}-{i}.sqlite")
            alone = partial(_alone, encoder.runner(), pixels, layouts[name], n // 2)
            before, files, after = alone(), _rate(partial(fill, part, [encoder], store), n), alone()
            plain = _alone(encoder.runner(), pixels, PLAIN, n // 2)
            seen[name].append((before, files, after, plain))
            store.close()
    return [
        {
            "runtime": name,
            "relative_error": _error(encoder.embed(pixels), want),
            "alone_layout": layouts[name],
            **_summary(seen[name]),
        }
        for name, encoder in encoders.items()
    ]


def _summary(rounds: list[tuple[Rate, Rate, Rate, Rate]]) -> dict[str, Any]:
    """Medians over the rounds; in each the files lie between two runs of the network alone."""
    alone = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, _, b, _ in rounds]
    files = [f for _, f, _, _ in rounds]
    plain = [p for *_, p in rounds]
    ratios = [f[0] / a[0] for a, f in zip(alone, files, strict=True)]
    return {
        "alone_per_second": round(median(rate for rate, _ in alone), 2),
        "files_per_second": round(median(rate for rate, _ in files), 2),
        "plain_per_second": round(median(rate for rate, _ in plain), 2),
        "ratio_to_plain": round(median(f[0] / p[0] for p, f in zip(plain, files, strict=True)), 3),
        "ratio": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio_of_processor_time": round(
            median(a[1] / f[1] for a, f in zip(alone, files, strict=True)), 3
        ),
    }


def _encoder(weights: Path, runtime: str) -> Network:
    encoder = resolve(f"local-dir:{weights}", device="cpu", runtime=runtime)
    assert isinstance(encoder, Network)
    encoder.load()
    return encoder


def _pixels(encoder: Network, images: Images, i: int) -> Any:
    with Image.open(images.file(images.rows[i])) as image:
        return encoder.prepare(image.convert("RGB"))


def _rate(work: Callable[[], object], n: int) -> Rate:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return n / (time.perf_counter() - clock), (time.process_time() - processor) / n


def _best_layout(runner: Runner, pixels: Any, n: int) -> str:
    """The layout that is fastest in the middle of its tries with `n` images, taken in turns."""
    times = 3 if n >= 32 else 1
    tries = [[_alone(runner, pixels, name, n)[0] for name in LAYOUTS] for _ in range(times)]
    middle = [median(rates) for rates in zip(*tries, strict=True)]
    return max(zip(middle, LAYOUTS, strict=True))[1]


def _alone(runner: Runner, pixels: Any, layout: str, n: int) -> Rate:
    """The network on a tensor that is ready, for about `n` images."""
    run, size = LAYOUTS[layout]
    ready, times = runner.normalise(pixels[:size]), max(cores(), n // size)
    return _rate(partial(run, runner, ready, times), times * size)


def _together(runner: Runner, ready: Any, times: int) -> None:
    for _ in range(times):
        runner.forward(ready)


def _abreast(runner: Runner, ready: Any, times: int) -> None:
    import torch

    def work(share: int) -> None:
        torch.set_num_threads(1)
        _together(runner, ready, share)

    before, n = torch.get_num_threads(), cores()
    shares = [times // n + (i < times % n) for i in range(n)]
    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.set_num_threads(before)


LAYOUTS = {
    "a thread a core, batch 2": (_abreast, 2),
    "a thread a core, batch 4": (_abreast, 4),
    "a thread a core, batch 8": (_abreast, 8),
    "all cores, batch 4": (_together, 4),
    "all cores, batch 16": (_together, 16),
}


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
