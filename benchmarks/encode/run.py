"""How fast is encoding?

The embedded network on torch, as it is and as ilk runs it (batch norm folded, channels last), at
several batch sizes, where freed memory goes back to the kernel and where the process keeps it. Then
each runtime: the network alone on prepared images, at its best batch size, and from JPEG files
(300 x 200) to rows in the store; and a second run on a warm store. All that is compared is
interleaved, and CPU time is reported beside wall time, since the machine may be shared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.encode.layers import SMALL_SECONDS
from ilk.core.cores import count_cores
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.encoders.engines import ENGINES
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.runtime import Runner
from ilk.images import Images, inspect_file
from ilk.store import Store

WEIGHTS = "mobilenetv2_100.imagenet"
EMBEDDED = "efficientnet-lite0"
WIDTH, HEIGHT = 300, 200
N_TEXTURES = 40
N_ROUNDS = 5

Rate = tuple[float, float]  # images per second (wall), CPU seconds per image


def run(small: bool = False) -> dict[str, Any]:
    """Measure layers, files, network, warm store and runtimes."""
    n, rounds = (16, 2) if small else (1000, N_ROUNDS)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "images"
        write_images(folder, n)
        images = list_images(folder, n)
        result: dict[str, Any] = {"images": n, "pixels": [WIDTH, HEIGHT], "cores": count_cores()}
        result["torch"] = measure_layers(0.01 if small else 0.6)
        result["runtimes"] = measure_runtimes(images, rounds, Path(home))
        result["warm"] = measure_warm_store(images, Path(home))
    return result


def measure_layers(seconds: float) -> list[dict[str, Any]]:
    """Measure the network on torch with either setting of the allocator, twice in turn."""
    found: dict[tuple[str, int], dict[str, list[dict[str, Any]]]] = {}
    for _ in range(1 if seconds < SMALL_SECONDS else 2):
        for setting in ("release", "keep"):
            command = [sys.executable, "-m", "benchmarks.encode.layers", setting, str(seconds)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            for found_row in json.loads(done.stdout):
                key = found_row["network"], found_row["batch"]
                found.setdefault(key, {}).setdefault(setting, []).append(found_row)
    rows = []
    for (network, batch), by_setting in found.items():
        summary: dict[str, Any] = {"network": network, "batch": batch}
        for setting, values in by_setting.items():
            for name in ("per_second", "page_faults_per_image"):
                summary[f"{name}_{setting}"] = round(median(value[name] for value in values), 1)
        summary["ratio"] = round(summary["per_second_keep"] / summary["per_second_release"], 2)
        rows.append(summary)
    return rows


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


def measure_runtimes(images: Images, rounds: int, home: Path) -> list[dict[str, Any]]:
    """Measure each installed runtime: the network alone, and from files to the store."""
    names = ["torch"] + [e.name for e in ENGINES if find_spec(e.packages[0])]
    encoders = {name: _load_encoder(name) for name in names}
    pixels = np.stack([_prepare_image(encoders["torch"], images, i) for i in range(16)])
    reference = encoders["torch"].embed(pixels)
    n_probe = min(128, len(images.rows) // rounds)
    layouts = {
        name: _find_best_layout(e.get_runner(), pixels, n_probe) for name, e in encoders.items()
    }
    measurements: dict[str, list[tuple[Rate, Rate, Rate]]] = {name: [] for name in encoders}
    for i in range(rounds):
        part = Images(None, images.rows[i::rounds])
        n = len(part.rows)
        for name, encoder in encoders.items():
            store = Store(home / f"{name}-{i}.sqlite")
            time_alone = partial(
                _time_network, encoder.get_runner(), pixels, layouts[name][0], n // 2
            )
            before, files, after = (
                time_alone(),
                _measure_rate(partial(encode_images, part, [encoder], store), n),
                time_alone(),
            )
            measurements[name].append((before, files, after))
            store.close()
    summaries = {name: _summarize_rounds(measurements[name]) for name in encoders}
    torch_rate = summaries["torch"]["files_per_second"]
    return [
        {
            "runtime": name,
            "relative_error": _relative_error(encoder.embed(pixels), reference),
            "network_layout": layouts[name][0],
            **summaries[name],
            "ratio_to_torch": round(summaries[name]["files_per_second"] / torch_rate, 2),
            "network_by_layout": layouts[name][1],
        }
        for name, encoder in encoders.items()
    ]


def _summarize_rounds(rounds: list[tuple[Rate, Rate, Rate]]) -> dict[str, Any]:
    """Return medians over the rounds; files are timed between two runs of the network alone."""
    alone = [((a[0] + b[0]) / 2, (a[1] + b[1]) / 2) for a, _, b in rounds]
    files = [f for _, f, _ in rounds]
    ratios = [f[0] / a[0] for a, f in zip(alone, files, strict=True)]
    return {
        "network_per_second": round(median(rate for rate, _ in alone), 2),
        "files_per_second": round(median(rate for rate, _ in files), 2),
        "ratio": round(median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio_of_processor_time": round(
            median(a[1] / f[1] for a, f in zip(alone, files, strict=True)), 3
        ),
    }


def _load_encoder(runtime: str) -> NetworkEncoder:
    encoder = resolve_encoder(EMBEDDED, device="cpu", runtime=runtime)
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


def _find_best_layout(runner: Runner, pixels: Any, n: int) -> tuple[str, dict[str, float]]:
    """Return the layout with the fastest median over trials with `n` images, taken in turn."""
    repeats = 5 if n >= 32 else 1
    rounds_rates = [
        [_time_network(runner, pixels, name, n)[0] for name in LAYOUTS] for _ in range(repeats)
    ]
    rates = {
        name: round(median(rates), 1)
        for name, rates in zip(LAYOUTS, zip(*rounds_rates, strict=True), strict=True)
    }
    return max(rates, key=lambda name: rates[name]), rates


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
    **{f"a thread per core, batch {n}": (_run_in_threads, n) for n in (1, 2, 4, 8, 16)},
    "all cores, batch 16": (_run_together, 16),
}


def _relative_error(actual: Any, expected: Any) -> float:
    return float(f"{np.linalg.norm(actual - expected) / np.linalg.norm(expected):.2g}")


def measure_warm_store(images: Images, home: Path) -> dict[str, Any]:
    """Time a first and a second run on the same store, both with the features read back."""
    encoder = _load_encoder("auto")
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
