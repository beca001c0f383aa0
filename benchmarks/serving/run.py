"""Does `ilk serve` answer as fast as the model alone, without failures or growing memory?

Photos of PACS, EfficientNet-Lite0 and GDA. In each of five blocks the same number of new images is
classified by a loop over `Classifier.predict` and by 16 clients of a server in another process on
this machine. Then: 10 requests a second, memory over 10,000 requests with one image in twenty
damaged, the seconds of a correction and of the start, and requests that the OpenAPI description
allows.
"""

from __future__ import annotations

import http.client
import shutil
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ilk
from benchmarks.runner import shared_path, summarize
from benchmarks.serving.client import (
    TOKEN,
    Reply,
    Server,
    ask,
    ask_at_rate,
    ask_many,
    make_unique,
    start_server,
)
from ilk.artifacts.classifier import Classifier
from ilk.store import Store

BAR = 0.8  # of the throughput of the loop
N_CLIENTS, RATE = 16, 10.0
NEW_CLASS = "horse"
DAMAGED_EVERY = 20


def run(small: bool = False) -> dict[str, Any]:
    """Return throughput, latency, memory, and seconds of a correction."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        photos = _unpack(folder, 4 if small else 20)
        encoder = "pixels/8x8x3" if small else "efficientnet-lite0"
        store = Store(folder / "fit.sqlite")
        classifier = ilk.fit(photos["fit"], encoders=encoder, methods="GDA", views=1, store=store)
        model = classifier.save(folder / "kinds")
        images = [path.read_bytes() for path in sorted(photos["rest"].rglob("*.jpg"))]
        new = [path.read_bytes() for path in sorted(photos["new"].rglob("*.jpg"))]
        numbers = iter(range(10**9))
        n_block, n_blocks = (8, 2) if small else (150, 5)
        with start_server(model, images[0]) as server:
            result: dict[str, Any] = {
                "start": {
                    "seconds_to_health": round(server.start_seconds, 2),
                    "seconds_to_first_answer": round(server.first_answer_seconds, 2),
                },
                "throughput": _compare(
                    server, ilk.load(model), _vary(images, numbers), n_block, n_blocks, folder
                ),
                "steady": _measure_rate(server, _vary(images, numbers), 10 if small else 200),
                "memory": _measure_memory(server, _vary(images, numbers), 60 if small else 10_000),
                "correction": _measure_corrections(server, new[: 2 if small else 10]),
                "fuzz": _fuzz(server, 2 if small else 150),
            }
        result["bars"] = {
            "throughput_ratio": BAR,
            "met": result["throughput"]["ratio"]["mean"] >= BAR,
            "failures_at_10_per_second": result["steady"]["failures"],
            "correction_within_1_s": result["correction"]["median_seconds"] <= 1.0,
        }
        return result


def _unpack(home: Path, n_fit: int) -> dict[str, Path]:
    """Write the photos: `n_fit` of each class to fit, the rest, and a class that is left out."""
    with tarfile.open(shared_path("data", "pacs_subset", "pacs_subset.tar.gz")) as archive:
        archive.extractall(home / "pacs", filter="data")
    source = next(path for path in (home / "pacs").rglob("photo") if path.is_dir())
    folders = {name: home / name for name in ("fit", "rest", "new")}
    for kind in sorted(source.iterdir()):
        for i, path in enumerate(sorted(kind.iterdir())):
            part = "new" if kind.name == NEW_CLASS else "fit" if i < n_fit else "rest"
            target = folders[part] / kind.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    return folders


def _vary(images: Sequence[bytes], numbers: Iterator[int]) -> Iterator[bytes]:
    """Yield images without end, none with the bytes of another: nothing has an answer ready."""
    while True:
        for image in images:
            yield make_unique(image, next(numbers))


def _take(images: Iterator[bytes], n: int) -> list[bytes]:
    return [next(images) for _ in range(n)]


def _compare(
    server: Server,
    classifier: Any,
    images: Iterator[bytes],
    n: int,
    n_blocks: int,
    home: Path,
) -> dict[str, Any]:
    """Measure images per second of the loop, of one call for all, and of the server, in turn."""
    rates: dict[str, list[float]] = {"loop": [], "one_call": [], "serve": []}
    replies: list[Reply] = []
    assert isinstance(classifier, Classifier)
    for block in range(n_blocks):
        store = Store(home / f"block-{block}.sqlite")
        classifier.predict(next(images), store=store)

        def loop(store: Store = store) -> None:
            for image in _take(images, n):
                classifier.predict(image, store=store)

        def call_once(store: Store = store) -> None:
            classifier.predict(_take(images, n), store=store)

        def serve() -> None:
            replies.extend(ask_many(server, _take(images, n), N_CLIENTS))

        runs = [("loop", loop), ("one_call", call_once), ("serve", serve)]
        for name, function in runs if block % 2 == 0 else reversed(runs):
            started_at = time.perf_counter()
            function()
            rates[name].append(n / (time.perf_counter() - started_at))
    pairs = zip(rates["serve"], rates["loop"], strict=True)
    all_at_once = zip(rates["serve"], rates["one_call"], strict=True)
    return {
        "clients": N_CLIENTS,
        "images_per_block": n,
        "images_per_second": {name: summarize(values) for name, values in rates.items()},
        "ratio": summarize([a / b for a, b in pairs]),
        "ratio_to_one_call": summarize([a / b for a, b in all_at_once]),
        **_describe(replies),
    }


def _describe(replies: Sequence[Reply]) -> dict[str, Any]:
    seconds = [reply.seconds for reply in replies if reply.status == 200]
    p50, p99 = np.quantile(seconds, [0.5, 0.99])
    return {
        "requests": len(replies),
        "failures": sum(reply.status != 200 for reply in replies),
        "p50_ms": round(1000 * float(p50), 1),
        "p99_ms": round(1000 * float(p99), 1),
    }


def _measure_rate(server: Server, images: Iterator[bytes], n: int) -> dict[str, Any]:
    replies = ask_at_rate(server, _take(images, n), RATE)
    return {"requests_per_second": RATE, **_describe(replies)}


def _measure_memory(server: Server, images: Iterator[bytes], n: int) -> dict[str, Any]:
    """Ask `n` times, in ten parts, and read the memory of the server after each."""
    megabytes, statuses = list[float](), Counter[int]()
    for _ in range(10):
        part = [
            image[: len(image) // 2] if i % DAMAGED_EVERY == 0 else image
            for i, image in enumerate(_take(images, n // 10))
        ]
        statuses.update(reply.status for reply in ask_many(server, part, N_CLIENTS))
        megabytes.append(round(server.read_megabytes(), 1))
    return {
        "requests": n,
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "megabytes_after_each_tenth": megabytes,
        "growth_after_the_first_tenth": round(megabytes[-1] / megabytes[0] - 1, 4),
    }


def _measure_corrections(server: Server, images: Sequence[bytes]) -> dict[str, Any]:
    """Teach a new class with one image after the other; each folds in all that wait."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    used = server.read_cpu_seconds()
    replies = [ask(connection, image, "/corrections", NEW_CLASS) for image in images]
    used = server.read_cpu_seconds() - used
    connection.close()
    seconds = [reply.seconds for reply in replies]
    return {
        "corrections": len(replies),
        "failures": sum(reply.status != 201 for reply in replies),
        "median_seconds": round(float(np.median(seconds)), 3),
        "max_seconds": round(max(seconds), 3),
        "cpu_seconds_each": round(used / len(replies), 3),
    }


def _fuzz(server: Server, n: int) -> dict[str, Any]:
    """Send `n` requests per operation that the description allows, and count the statuses."""
    try:
        import schemathesis
        from hypothesis import HealthCheck, Phase, given, settings
    except ImportError:
        return {"note": "schemathesis is not installed"}
    statuses = Counter[int]()
    address = f"http://{server.host}:{server.port}"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json", headers=headers)
    checks = list(HealthCheck)
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=n,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=checks,
            phases=[Phase.generate],
        )
        def send(case: Any) -> None:
            statuses[int(case.call(headers=headers).status_code)] += 1

        send()
    return {
        "requests": sum(statuses.values()),
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "server_errors": sum(count for status, count in statuses.items() if status >= 500),
    }
