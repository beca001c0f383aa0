"""Processes that fill one store at once, or are killed while they do."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ilk.encode import fill
from ilk.encoders import resolve
from ilk.images import Images, inspect
from ilk.store import Store
from tiny_checkpoints import noise

N = 300
FILL = """
import sys, time
from pathlib import Path
from ilk import encode
from ilk.encoders import resolve
from ilk.images import Images, inspect
from ilk.store import Store
folder, store, pause = Path(sys.argv[1]), Store(sys.argv[2]), float(sys.argv[3])
images = Images(None, tuple(inspect(path) for path in sorted(folder.iterdir())))
encode.COMMIT_SECONDS = 0.02
work = encode._encode
encode._encode = lambda task: time.sleep(pause) or work(task)
print("ready", flush=True)
encode.fill(images, [resolve("pixels/4x4x3"), resolve("hog/16")], store)
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i in range(N):
        noise(9, 8, i).save(folder / f"{i:04}.png")
    return Images(None, tuple(inspect(path) for path in sorted(folder.iterdir())))


@pytest.fixture(scope="module")
def expected(images, tmp_path_factory):
    return _held(images, _filled(images, tmp_path_factory.mktemp("plain") / "store.sqlite"))


def _filled(images: Images, path: Path) -> Store:
    store = Store(path)
    assert fill(images, _encoders(), store) == {}
    return store


def _encoders():
    return [resolve("pixels/4x4x3"), resolve("hog/16")]


def _held(images: Images, store: Store) -> list[np.ndarray]:
    digests = [row.digest for row in images.used]
    return [store.get(encoder.space, digests) for encoder in _encoders()]


def _start(images: Images, path: Path, pause: float) -> subprocess.Popen[str]:
    folder = Path(images.rows[0].path).parent
    command = [sys.executable, "-c", FILL, str(folder), str(path), str(pause)]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stdout
    assert started.stdout.readline() == "ready\n", started.communicate()
    return started


def _count(store: Store) -> int:
    return sum(n for _, n in store.spaces())


def test_killed_at_any_moment_it_resumes_without_a_wrong_or_lost_row(images, expected, tmp_path):
    path = tmp_path / "store.sqlite"
    store, seen = Store(path), [0]
    for extra in (1, 60, 150):
        running = _start(images, path, pause=0.03)
        while _count(store) < seen[-1] + extra and running.poll() is None:
            time.sleep(0.002)
        running.kill()
        running.communicate()
        seen.append(_count(store))
    assert 0 < seen[1] < seen[2] < seen[3] < 2 * N
    for encoder, want in zip(_encoders(), expected, strict=True):  # what is there is right
        missing = set(store.missing(encoder.space, [row.digest for row in images.used]))
        for i, row in enumerate(images.used):
            if row.digest not in missing:
                np.testing.assert_array_equal(store.get(encoder.space, [row.digest])[0], want[i])
    _filled(images, path).close()
    for got, want in zip(_held(images, store), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    assert _count(store) == 2 * N
    store.close()


def test_two_processes_fill_one_store_at_once(images, expected, tmp_path):
    path = tmp_path / "store.sqlite"
    both = [_start(images, path, pause=0.005) for _ in range(2)]
    for one in both:
        said, error = one.communicate(timeout=120)
        assert (said, one.returncode) == ("done\n", 0), error
    store = Store(path)
    for got, want in zip(_held(images, store), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    assert _count(store) == 2 * N
    store.close()
