"""Does every image get exactly one row when processes are killed, and what does Ray cost?

5,000 photos (CIFAR-10, JPEG) in 20 shards, encoded by `ilk encode --on ray --actors 2`. In 20 runs
a worker is killed with SIGKILL at a random moment of the work; in 10 more the command itself, which
is then repeated, on a cluster that goes on (7) or that the command had started itself (3). A run is
whole if the parts hold the digests of the manifest, in order, each once; they are compared byte for
byte with those of an undisturbed run of the local pool. Then the embedded network on the local pool
and on Ray, in turn: images per second between the first report and the last image, and the seconds
before the first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from shutil import copy
from statistics import median
from typing import Any

import numpy as np

from benchmarks.cluster.processes import find_workers, hold_cluster, kill, wait_for_workers
from benchmarks.runner import shared_path, summarize
from ilk.encoders import resolve_encoder
from ilk.images import read_images
from ilk.shards.engines import EngineOptions, open_engine
from ilk.shards.manifest import FILE_NAME, Manifest
from ilk.shards.parts import read_outcomes
from ilk.shards.spaces import choose_space
from ilk.shards.verify import count_rows

CHEAP, NETWORK = "pixels/16x16x3", "efficientnet-lite0"
N_WORKERS = 2
N_WORKER_KILLS, N_DRIVER_KILLS, N_OWN_CLUSTER = 20, 10, 3
N_REPEATS = 3
MAX_SECONDS = 400.0  # of one command
BUDGET_SECONDS = 1900.0  # after which no further run begins


def run(small: bool = False) -> dict[str, Any]:
    """Kill workers, kill commands, and compare throughput."""
    until = time.monotonic() + BUDGET_SECONDS  # so that a busy machine ends with fewer runs
    per_class, shard_size = (2, 5) if small else (500, 250)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        write_photos(home / "photos", per_class)
        images = read_images(home / "photos")
        lists = home / "lists"
        n = Manifest.write(lists, images, shard_size=shard_size).n_rows
        reference = make_folder(lists, home / "reference")
        seconds_local = encode_here(reference, CHEAP, "local")["seconds"]
        result: dict[str, Any] = {
            "images": n,
            "shards": Manifest.read(reference).n_shards,
            "workers": N_WORKERS,
            "encoder": CHEAP,
            "local": {"seconds": seconds_local, "whole": is_whole(reference)},
        }
        counts = (1, 1, 0) if small else (N_WORKER_KILLS, N_DRIVER_KILLS, N_OWN_CLUSTER)
        n_network, size = (4, 1) if small else (360, 20)
        result["overhead"] = compare_engines(home, n_network, size, 1 if small else N_REPEATS)
        worker_kills: list[dict[str, Any]] = []
        command_kills: list[dict[str, Any]] = []
        with hold_cluster() as (root, variables):
            calm = make_folder(lists, home / "calm")
            first = run_command(calm, root, variables, None)
            result["undisturbed"] = {**first, **check(calm, reference)}
            window = max(0.5, float(first["seconds_with_workers"]))
            for i in range(max(counts)):
                if i < counts[0] and time.monotonic() < until:
                    folder = make_folder(lists, home / f"worker-{i}")
                    outcome = run_command(folder, root, variables, rng.uniform(0, window))
                    worker_kills.append({**outcome, **check(folder, reference)})
                if i < counts[1] - counts[2] and time.monotonic() < until:
                    folder = make_folder(lists, home / f"command-{i}")
                    outcome = kill_and_repeat(folder, root, variables, rng.uniform(0, window))
                    command_kills.append({**outcome, **check(folder, reference)})
        for i in range(counts[2]):
            if time.monotonic() < until:
                folder = make_folder(lists, home / f"own-{i}")
                outcome = kill_and_repeat(folder, None, {}, rng.uniform(0, window))
                command_kills.append({**outcome, **check(folder, reference)})
        result["worker_killed"] = summarize_kills(worker_kills, counts[0])
        result["command_killed"] = summarize_kills(command_kills, counts[1])
    return result


def write_photos(folder: Path, per_class: int) -> None:
    """Write test images of CIFAR-10 as a folder per class."""
    written: dict[str, int] = {}
    with tarfile.open(shared_path("data", "cifar10_jpeg", "cifar10_jpeg.tar.gz")) as archive:
        for member in archive:
            split, _, rest = member.name.partition("/")
            label = rest.partition("/")[0]
            if split != "test" or not member.isfile() or written.get(label, 0) >= per_class:
                continue
            file = archive.extractfile(member)
            assert file is not None, "a plain file"
            path = folder / label / Path(rest).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.read())
            written[label] = written.get(label, 0) + 1


def make_folder(lists: Path, folder: Path) -> Path:
    """Return a new shard folder with the manifest of another."""
    folder.mkdir()
    copy(lists / FILE_NAME, folder / FILE_NAME)
    return folder


def start(folder: Path, variables: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start `ilk encode` on Ray."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    options = ["--encoder", CHEAP, "--on", "ray", "--actors", str(N_WORKERS)]
    return subprocess.Popen(
        [sys.executable, "-m", "ilk", "encode", str(folder), *options],
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_command(
    folder: Path, root: int | None, variables: Mapping[str, str], kill_after: float | None
) -> dict[str, Any]:
    """Run the command to its end; kill one of its workers some seconds after they are there."""
    began = time.monotonic()
    before = find_workers(root) if root else []  # of the last command, which are about to end
    process = start(folder, variables)
    has_begun = wait_for_workers(root or process.pid, process, before)
    workers_at = time.monotonic()
    was_hit = False
    if has_begun and kill_after is not None:
        time.sleep(kill_after)
        workers = sorted(set(find_workers(root or process.pid)) - set(before))
        was_hit = bool(workers) and kill(workers[int(kill_after * 1000) % len(workers)])
    output, _ = process.communicate(timeout=MAX_SECONDS)
    return {
        "exit_code": process.returncode,
        "hit": was_hit,
        "kill_after": kill_after,
        "retries": output.count("attempt "),
        "seconds": time.monotonic() - began,
        "seconds_with_workers": time.monotonic() - workers_at,
        "output": output[-400:] if process.returncode else "",
    }


def kill_and_repeat(
    folder: Path, root: int | None, variables: Mapping[str, str], kill_after: float
) -> dict[str, Any]:
    """Kill the command some seconds after its workers are there, and run it again."""
    before = find_workers(root) if root else []
    process = start(folder, variables)
    was_hit = False
    if wait_for_workers(root or process.pid, process, before):
        time.sleep(kill_after)
        was_hit = process.poll() is None and kill(process.pid)
    process.communicate(timeout=MAX_SECONDS)
    n_done = len(list(folder.glob("features/*/part-*.parquet")))
    again = run_command(folder, root, variables, None)
    return {**again, "hit": was_hit, "kill_after": kill_after, "parts_before_repeat": n_done}


def is_whole(folder: Path) -> bool:
    """Whether the parts hold the rows of the manifest, in order, each once."""
    manifest, space = Manifest.read(folder), choose_space(folder)
    if not count_rows(manifest, space, range(manifest.n_shards)).is_whole:
        return False
    names = ["row", "digest"]
    columns = [read_outcomes(space, i, names) for i in range(manifest.n_shards)]
    rows = [row for part in columns for row in part["row"]]
    digests = [digest for part in columns for digest in part["digest"]]
    expected = manifest.read_all(["digest"]).column(0).to_pylist()
    return rows == list(range(manifest.n_rows)) and digests == expected


def check(folder: Path, reference: Path) -> dict[str, bool]:
    """Return whether the rows are whole, and the parts those of the reference, byte for byte."""
    mine = {p.name: p.read_bytes() for p in folder.glob("features/*/part-*")}
    theirs = {p.name: p.read_bytes() for p in reference.glob("features/*/part-*")}
    return {"whole": is_whole(folder), "identical": mine == theirs}


def summarize_kills(runs: list[dict[str, Any]], planned: int) -> dict[str, Any]:
    """Return how many runs were good, of those that were made and those planned."""
    good = [r for r in runs if r["whole"] and r["identical"] and r["exit_code"] == 0]
    return {
        "planned": planned,
        "runs": len(runs),
        "hit": sum(r["hit"] for r in runs),
        "whole": sum(r["whole"] for r in runs),
        "identical": sum(r["identical"] for r in runs),
        "exit_code_0": sum(r["exit_code"] == 0 for r in runs),
        "good": len(good),
        "median_seconds": median(r["seconds"] for r in runs) if runs else None,
        "each": runs,
    }


def encode_here(folder: Path, encoder: str, on: str) -> dict[str, float]:
    """Encode in this process; images per second after the first report, and seconds before it."""
    engine, address = open_engine(on)
    reports: list[tuple[float, int]] = []
    began = time.monotonic()
    engine.run(
        folder,
        range(Manifest.read(folder).n_shards),
        partial(resolve_encoder, encoder),
        meter=lambda n, _seconds: reports.append((time.monotonic(), n)),
        options=EngineOptions(address, actors=N_WORKERS),
    )
    ended = time.monotonic()
    first_at, first_n = reports[0]
    last_at = max(at for at, n in reports if n)
    rest = sum(n for _, n in reports) - first_n
    return {
        "seconds": ended - began,
        "images_per_second": rest / max(last_at - first_at, 1e-9),
        "seconds_before_first_report": first_at - began,
        "seconds_after_last_image": ended - last_at,
    }


def compare_engines(home: Path, n: int, shard_size: int, repeats: int) -> dict[str, Any]:
    """Encode the same images with the embedded network on the local pool and on Ray, in turn."""
    write_photos(home / "few", max(1, n // 10))
    lists = home / "few lists"
    n_rows = Manifest.write(lists, read_images(home / "few"), shard_size=shard_size).n_rows
    rates: dict[str, list[dict[str, float]]] = {"local": [], "ray": []}
    identical = []
    for i in range(repeats):
        order = ("local", "ray") if i % 2 == 0 else ("ray", "local")
        for on in order:
            folder = make_folder(lists, home / f"{on}-{i}")
            rates[on].append(encode_here(folder, NETWORK, on))
        identical.append(check(home / f"ray-{i}", home / f"local-{i}")["identical"])
    pairs = list(zip(rates["ray"], rates["local"], strict=True))
    ratio = [ray["images_per_second"] / local["images_per_second"] for ray, local in pairs]
    key = "seconds_before_first_report"
    return {
        "encoder": NETWORK,
        "images": n_rows,
        "repeats": repeats,
        "engines": rates,
        "ratio": summarize(ratio),
        "startup_seconds_more": summarize([ray[key] - local[key] for ray, local in pairs]),
        "identical": sum(identical),
    }
