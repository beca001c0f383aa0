"""Shards on Ray: one cluster is started, in a process of its own; the rest needs none."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from helpers.deadly_encoder import ALWAYS, ONCE, DeadlyEncoder
from ilk.core.errors import ArtifactError, IlkError, InputError, Unavailable
from ilk.images import read_images
from ilk.shards import ray_cluster, ray_engine
from ilk.shards.encode import encode_shard
from ilk.shards.engines import EngineOptions
from ilk.shards.manifest import Manifest
from ilk.shards.parts import Part
from ilk.shards.ray_events import LOST, Desk, Event, Watch
from ilk.shards.ray_plan import plan_actors
from ilk.shards.ray_step import EncodeShards, StepConfig, check_worker

ROOT = Path(__file__).parents[2]
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


def make_shards(tmp_path: Path, first_pixels: list[int], shard_size: int = 5) -> Path:
    """Shards of images whose first pixel is given."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i, first in enumerate(first_pixels):
        pixels = rng.integers(100, 255, (8, 8, 3), np.uint8)
        pixels[0, 0] = first
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i:03}.png")
    folder = tmp_path / "shards"
    Manifest.write(folder, read_images(tmp_path / "images"), shard_size=shard_size)
    return folder


@needs_ray
def test_lost_workers_are_replaced_and_a_shard_that_kills_them_is_named(tmp_path: Path) -> None:
    first = [200] * 30
    first[12], first[22] = ONCE, ALWAYS
    folder = make_shards(tmp_path, first)
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "helpers.run_on_ray", str(folder)],
        env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)  # nothing but the result is on standard output
    assert "shard 4 could not be encoded: its worker died 3 times" in result["error"]
    assert any(
        line.startswith("the worker of shard 2 died; attempt 2 of 3") for line in result["lines"]
    )
    assert result["images"] <= 30  # those of a lost worker are not counted twice
    parts = sorted((folder / "features").glob("*/part-*.parquet"))
    assert [int(p.stem[-5:]) for p in parts] == [0, 1, 2, 3, 5]
    assert not list(folder.glob(".ray-*"))
    assert not list(tmp_path.glob("ilk-ray-*"))


def test_a_worker_per_core_or_per_gpu_with_its_part_of_the_cores() -> None:
    node = {"CPU": 16.0, "GPU": 4.0}
    plan = plan_actors(node, EngineOptions(), 100, uses_gpu=True)
    assert (plan.n, plan.cpus, plan.gpus, plan.n_threads) == (4, 4, 1, 4)
    plan = plan_actors(node, EngineOptions(), 100, uses_gpu=False)
    assert (plan.n, plan.cpus, plan.gpus) == (16, 1, 0)
    plan = plan_actors(node, EngineOptions(gpus_per_actor=0.5), 100, uses_gpu=True)
    assert (plan.n, plan.cpus, plan.gpus) == (8, 2, 0.5)
    assert plan_actors(node, EngineOptions(), 3, uses_gpu=False).n == 3  # no more than shards
    assert plan_actors(node, EngineOptions(actors=40), 100, uses_gpu=False).n == 40
    assert plan_actors(node, EngineOptions(cpus_per_actor=5), 100, uses_gpu=False).n == 3
    assert plan_actors({}, EngineOptions(), 100, uses_gpu=True).n == 1
    with pytest.raises(InputError, match="at least 1 worker"):
        plan_actors(node, EngineOptions(cpus_per_actor=0), 1, uses_gpu=False)


def test_images_of_a_lost_attempt_count_once() -> None:
    counts: list[int] = []
    lines: list[str] = []
    watch = Watch(lambda n, _seconds: counts.append(n), lines.append, 3)
    for event in (
        Event("begun", 7, 1),
        Event("advanced", 7, 1, n=30, seconds={"network": 1.0}),
        Event("begun", 7, 2, place="node2"),
        Event("advanced", 7, 2, n=20, seconds={"network": 1.0}),
        Event("done", 7, 2, n=50, seconds={"network": 1.0}),
    ):
        watch.take(event)
    assert sum(counts) == 50
    assert watch.has_begun  # it is no cluster without room
    assert lines == ["the worker of shard 7 died; attempt 2 of 3 on node2"]


def test_what_fails_on_a_worker_is_raised_here_with_its_kind_and_place() -> None:
    watch = Watch(lambda _n, _seconds: None, lambda _line: None, 3)
    with pytest.raises(InputError, match=r"not finite \(shard 3, worker node1\)"):
        watch.take(Event("failed", 3, 1, error="InputError", message="not finite", place="node1"))
    with pytest.raises(IlkError, match="ZeroDivisionError"):
        watch.take(Event("failed", 3, 1, error="KeyError", message="ZeroDivisionError: x"))
    watch.take(Event("failed", 4, 4, error=LOST, message="its worker died 3 times"))
    assert watch.explain_lost([4]) == "its worker died 3 times"


def test_attempts_are_counted_for_each_shard() -> None:
    desk = Desk()
    assert [desk.begin(i, "a") for i in (1, 2, 1, 1)] == [1, 1, 2, 3]
    assert [event.attempt for event in desk.collect()] == [1, 1, 2, 3]
    assert desk.collect() == []


def test_a_worker_that_differs_is_refused_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # a worker goes to the folder of the command
    folder = make_shards(tmp_path, [200] * 3)
    (folder / "mark").touch()
    digest = Manifest.read(folder).digest
    config = StepConfig(
        str(folder), "mark", digest, "key", open_deadly_here, "float32", False, 1, 3, str(tmp_path)
    )
    check_worker(config, "node1", 0)
    with pytest.raises(Unavailable, match=r"worker node1 does not see .* shared by all machines"):
        check_worker(replace(config, mark="another"), "node1", 0)
    with pytest.raises(Unavailable, match=r"has ilk .* same version on every machine"):
        check_worker(replace(config, version="0.0.1"), "node1", 0)
    with pytest.raises(ArtifactError, match="has changed since the command began"):
        check_worker(replace(config, manifest="0" * 64), "node1", 0)
    with pytest.raises(ArtifactError, match="worker node1 has different weights"):
        EncodeShards(config, None)._open_encoder("node1")
    monkeypatch.chdir(ROOT)
    step = EncodeShards(replace(config, space=open_deadly_here().space.key), None)
    assert step._open_encoder("node1") is step._open_encoder("node1")  # opened once
    assert Path.cwd() == tmp_path  # where relative names of encoders start


def open_deadly_here() -> DeadlyEncoder:
    return DeadlyEncoder(Path())


@needs_ray
@pytest.mark.parametrize("address", ["ray://127.0.0.1:{port}", "127.0.0.1:{port}"])
def test_a_cluster_that_is_not_there_is_said_within_seconds(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(ray_cluster, "find_spec", lambda _name: True)  # Ray's client
    folder = make_shards(tmp_path, [200] * 3)
    options = EngineOptions(address.format(port=port))
    with pytest.raises(Unavailable, match="no cluster answers at"):
        ray_engine.run(folder, [0], open_deadly_here, options=options)
    assert not list(folder.glob(".ray-*"))


@pytest.mark.parametrize("address", ["ray://", "ray://host:port", "somewhere"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="is not the address of a cluster"):
        ray_cluster._check_answers(address)


def test_without_ray_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ilk.hub.client.find_spec", lambda _name: None)
    folder = make_shards(tmp_path, [200] * 3)
    with pytest.raises(Unavailable, match=r"ray is not installed; run: pip install 'ilk\[ray\]'"):
        ray_engine.run(folder, [0], open_deadly_here)


def test_finished_shards_need_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_shards(tmp_path, [200] * 12)
    for i in range(3):
        encode_shard(folder, i, open_deadly_here())
    monkeypatch.setattr(ray_engine, "connect", None)
    counts: list[int] = []
    ray_engine.run(folder, [0, 1, 2], open_deadly_here, meter=lambda n, _seconds: counts.append(n))
    assert counts == [5, 5, 2]


def test_parts_with_images_that_could_not_be_read_are_missing_only_if_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts = {0: None, 1: Part(Path(), 1, 5), 2: Part(Path(), 2, 5, 1, 1)}
    monkeypatch.setattr(ray_engine, "check_part", lambda _m, _s, i: ("done", parts[i]))
    manifest = space = cast(Any, None)
    assert ray_engine._find_missing(manifest, space, [2, 1, 0], False) == [0]
    assert ray_engine._find_missing(manifest, space, [2, 1, 0], True) == [2, 0]


def test_lines_of_rays_own_threads_do_not_reach_standard_output() -> None:
    stream = io.StringIO()
    filtered = ray_cluster._WithoutRay(stream)
    thread = Thread(target=filtered.write, args=("news",), name="ray_listen_error_messages")
    thread.start()
    thread.join()
    filtered.write("result")
    assert stream.getvalue() == "result"


def test_what_ray_prints_at_its_end_does_not_reach_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = SimpleNamespace(init=lambda *_a, **_k: None, shutdown=lambda: print("held back"))
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(ray_cluster, "require_package", lambda *_names: None)
    with ray_cluster.connect(EngineOptions()):
        print("result")
    assert capsys.readouterr().out == "result\n"


class BusyCluster:
    """A cluster that takes a job and never has room for its workers, in place of `ray`."""

    def __init__(self) -> None:
        self.cancelled: list[object] = []

    def remote(self, *_args: object, **_options: object) -> BusyCluster:
        return self if not _args else "job"

    def __call__(self, _function: object) -> BusyCluster:
        return self

    collect = property(lambda self: self)

    def wait(self, jobs: list[object], timeout: float) -> tuple[list[object], list[object]]:
        return [], jobs

    def get(self, _reference: object, timeout: float | None = None) -> list[Event]:
        return []

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 8.0}

    def available_resources(self) -> dict[str, float]:
        return {"CPU": 0.0}

    def cancel(self, job: object, force: bool) -> None:
        self.cancelled.append(job)


def test_a_cluster_without_room_is_waited_for_in_vain_for_a_bounded_time(tmp_path: Path) -> None:
    cluster, plan = BusyCluster(), plan_actors({"CPU": 8}, EngineOptions(actors=2), 5, False)
    config = StepConfig("", "", "", "", open_deadly_here, "float32", False, 1, 3, "")
    watch = Watch(lambda _n, _seconds: None, lambda _line: None, 3)
    expected = r"within 0 s: 0 of 8 CPUs and 0 of 0 GPUs are free, and 2 workers with 1 core each"
    with pytest.raises(Unavailable, match=expected):
        ray_engine._work(cluster, config, [0], plan, watch, 0.3)
    assert cluster.cancelled == ["job"]


def test_what_ray_says_becomes_one_sentence() -> None:
    missing = ray_engine._explain(RuntimeError("x\nNo module named 'ilk'"), "ray://a:1", 1)
    assert "the cluster at ray://a:1 has no ilk on its workers" in str(missing)
    silent = ray_engine._explain(TimeoutError("…"), "", 60)
    assert "has not answered for 60 s" in str(silent)
    other = ray_engine._explain(ValueError("first\n\n  last line  "), "", 60)
    assert "(last line)" in str(other)
    assert "\n" not in str(other)
