"""How fast is encoding?

From JPEG files (500 x 400) to rows in the store, compared with the same network on prepared tensors
in the same run; a second run on a warm store; and the runtimes. The network alone is run with
torch's defaults (all cores on a batch of 16) and with the best of several layouts (among them one
thread per core on small batches). All that is compared is interleaved, and CPU time is reported
beside wall time, since the machine may be shared.
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

from benchmarks.runner import shared_path
from ilk.encode import count_cores, encode_images
from ilk.encoders import resolve_encoder
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.runtime import RUNTIMES, Runner
from ilk.images import Images, inspect_file
from ilk.store import Store

WEIGHTS = "mobilenetv2_100.imagenet"
WIDTH, HEIGHT = 500, 400
N_TEXTURES = 40
N_ROUNDS = 5

DEFAULT_LAYOUT = "all cores, batch 16"

Rate = tuple[float, float]  # images per second (wall), CPU seconds per image


def run(small: bool = False) -> dict[str, Any]:
    """Measure files, network, warm store and runtimes."""
    weights = shared_path("weights", WEIGHTS)
    n, rounds = (16, 2) if small else (2000, N_ROUNDS)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "images"
        write_images(folder, n)
        images = list_images(folder, n)
        result: dict[str, Any] = {"images": n, "pixels": [WIDTH, HEIGHT], "cores": count_cores()}
        result["runtimes"] = measure_runtimes(weights, images, rounds, Path(home))
        result["warm"] = measure_warm_store(weights, images, Path(home))
    return result


def write_images(folder: Path, n: int, seed: int = 0) -> None:
    """Write `n` different JPEG files, like photographs in size and detail."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    textures = [_make_texture(rng) for _ in range(min(n, N_TEXTURES))]
    for i in range(n):
        shift = rng.integers(0, (HEIGHT, WIDTH))
        pixels = np.roll(textures[i % len(textures)], tuple(shift), (0, 1))
        Image.fromarray(pixels).save(folder / f"{i:05}.jpg", quality=90)


def _make_texture(rng: np.random.Generator) -> Any:
    """Return noise of four scales, stronger at coarse ones, as in natural images."""
    pixels = np.full((HEIGHT, WIDTH, 3), 128.0)
    for across, strength in ((8, 60), (25, 40), (100, 25), (400, 8)):
        noise_image = rng.integers(0, 256, (across * HEIGHT // WIDTH, across, 3), dtype=np.uint8)
        smooth = Image.fromarray(noise_image).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        pixels += strength / 128 * (np.asarray(smooth, np.float64) - 128)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def list_images(folder: Path, n: int) -> Images:
    """Return the first `n` files."""
    return Images(None, tuple(inspect_file(folder / f"{i:05}.jpg") for i in range(n)))


def measure_runtimes(
    weights: Path, images: Images, rounds: int, home: Path
) -> list[dict[str, Any]]:
    """Measure each runtime: the network alone, and from files to the store."""
    encoders = {name: _load_encoder(weights, name) for name in RUNTIMES}
    pixels = np.stack([_prepare_image(encoders["torch"], images, i) for i in range(16)])
    reference = encoders["torch"].embed(pixels)
    n_probe = min(64, len(images.rows) // rounds)
    layouts = {
        name: _find_best_layout(e.get_runner(), pixels, n_probe) for name, e in encoders.items()
    }
    measurements: dict[str, list[tuple[Rate, Rate, Rate, Rate]]] = {name: [] for name in encoders}
    for i in range(rounds):
        part = Images(None, images.rows[i::rounds])
        n = len(part.rows)
        for name, encoder in encoders.items():
            store = Store(home / f"{name}-{i}.sqlite")
            time_alone = partial(_time_network, encoder.get_runner(), pixels, layouts[name], n // 2)
            before, files, after = (
                time_alone(),
                _measure_rate(partial(encode_images, part, [encoder], store), n),
                time_alone(),
            )
            plain = _time_network(encoder.get_runner(), pixels, DEFAULT_LAYOUT, n // 2)
            measurements[name].append((before, files, after, plain))
            store.close()
    return [
        {
            "runtime": name,
            "relative_error": _relative_error(encoder.embed(pixels), reference),
            "network_layout": layouts[name],
            **_summarize_rounds(measurements[name]),
        }
        for name, encoder in encoders.items()
    ]


def _summarize_rounds(rounds: list[tuple[Rate, Rate, Rate, Rate]]) -> dict[str, Any]:
    """Return medians over the rounds; files are timed between two runs of the network alone."""
    alone = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, _, b, _ in rounds]
    files = [f for _, f, _, _ in rounds]
    plain = [p for *_, p in rounds]
    ratios = [f[0] / a[0] for a, f in zip(alone, files, strict=True)]
    return {
        "network_per_second": round(median(rate for rate, _ in alone), 2),
        "files_per_second": round(median(rate for rate, _ in files), 2),
        "default_per_second": round(median(rate for rate, _ in plain), 2),
        "ratio_to_default": round(
            median(f[0] / p[0] for p, f in zip(plain, files, strict=True)), 3
        ),
        "ratio": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio_of_processor_time": round(
            median(a[1] / f[1] for a, f in zip(alone, files, strict=True)), 3
        ),
    }


def _load_encoder(weights: Path, runtime: str) -> NetworkEncoder:
    encoder = resolve_encoder(f"local-dir:{weights}", device="cpu", runtime=runtime)
    assert isinstance(encoder, NetworkEncoder)
    encoder.load()
    return encoder


def _prepare_image(encoder: NetworkEncoder, images: Images, i: int) -> Any:
    with Image.open(images.path_of(images.rows[i])) as image:
        return encoder.prepare(image.convert("RGB"))


def _measure_rate(work: Callable[[], object], n: int) -> Rate:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return n / (time.perf_counter() - clock), (time.process_time() - processor) / n


def _find_best_layout(runner: Runner, pixels: Any, n: int) -> str:
    """Return the layout with the fastest median over trials with `n` images, taken in turn."""
    repeats = 3 if n >= 32 else 1
    rounds_rates = [
        [_time_network(runner, pixels, name, n)[0] for name in LAYOUTS] for _ in range(repeats)
    ]
    middle = [median(rates) for rates in zip(*rounds_rates, strict=True)]
    return max(zip(middle, LAYOUTS, strict=True))[1]


def _time_network(runner: Runner, pixels: Any, layout: str, n: int) -> Rate:
    """Time the network on a prepared tensor, for about `n` images."""
    run, size = LAYOUTS[layout]
    batch, repeats = runner.normalize(pixels[:size]), max(count_cores(), n // size)
    return _measure_rate(partial(run, runner, batch, repeats), repeats * size)


def _run_together(runner: Runner, batch: Any, repeats: int) -> None:
    for _ in range(repeats):
        runner.forward(batch)


def _run_in_threads(runner: Runner, batch: Any, repeats: int) -> None:
    import torch

    def work(share: int) -> None:
        torch.set_num_threads(1)
        _run_together(runner, batch, share)

    before, n = torch.get_num_threads(), count_cores()
    counts = [repeats // n + (i < repeats % n) for i in range(n)]
    threads = [threading.Thread(target=work, args=(count,)) for count in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    torch.set_num_threads(before)


LAYOUTS = {
    "one thread per core, batch 2": (_run_in_threads, 2),
    "a thread a core, batch 4": (_run_in_threads, 4),
    "a thread a core, batch 8": (_run_in_threads, 8),
    "all cores, batch 4": (_run_together, 4),
    "all cores, batch 16": (_run_together, 16),
}


def _relative_error(actual: Any, expected: Any) -> float:
    return float(f"{np.linalg.norm(actual - expected) / np.linalg.norm(expected):.2g}")


def measure_warm_store(weights: Path, images: Images, home: Path) -> dict[str, Any]:
    """Time a first and a second run on the same store, both with the features read back."""
    encoder = _load_encoder(weights, "torch")
    store = Store(home / "warm.sqlite")
    digests = [row.digest for row in images.rows]
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        encode_images(images, [encoder], store)
        store.get(encoder.space, digests)
        seconds.append(time.perf_counter() - start)
    store.close()
    first, second = seconds
    return {
        "first_seconds": round(first, 2),
        "second_seconds": round(second, 4),
        "times_faster": round(first / second),
    }
