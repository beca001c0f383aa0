"""Processes that fill one store at once, or are killed while they do."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.noise_images import noise
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.images import Images, inspect_file
from ilk.store import Store

N = 300
FILL = """
import sys, time
from pathlib import Path
from ilk.encode import fill_store
from ilk.encoders import resolve_encoder
from ilk.images import Images, inspect_file
from ilk.store import Store
folder, store, pause = Path(sys.argv[1]), Store(sys.argv[2]), float(sys.argv[3])
images = Images(None, tuple(inspect_file(path) for path in sorted(folder.iterdir())))
fill_store.COMMIT_SECONDS = 0.02
work = fill_store.encode_task
fill_store.encode_task = lambda task: time.sleep(pause) or work(task)
print("ready", flush=True)
encoders = [resolve_encoder("pixels/4x4x3"), resolve_encoder("hog/16")]
fill_store.encode_images(images, encoders, store)
print("done", flush=True)
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i in range(N):
        noise(9, 8, i).save(folder / f"{i:04}.png")
    return Images(None, tuple(inspect_file(path) for path in sorted(folder.iterdir())))


@pytest.fixture(scope="module")
def expected(images, tmp_path_factory):
    return _load_features(
        images, _filled(images, tmp_path_factory.mktemp("plain") / "store.sqlite")
    )


def _filled(images: Images, path: Path) -> Store:
    store = Store(path)
    assert encode_images(images, _encoders(), store) == {}
    return store


def _encoders():
    return [resolve_encoder("pixels/4x4x3"), resolve_encoder("hog/16")]


def _load_features(images: Images, store: Store) -> list[np.ndarray]:
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
    return sum(n for _, n in store.list_spaces())


def test_killed_at_any_moment_it_resumes_without_a_wrong_or_lost_row(images, expected, tmp_path):
    path = tmp_path / "store.sqlite"
    store, counts = Store(path), [0]
    for extra in (1, 60, 150):
        running = _start(images, path, pause=0.03)
        while _count(store) < counts[-1] + extra and running.poll() is None:
            time.sleep(0.002)
        running.kill()
        running.communicate()
        counts.append(_count(store))
    assert 0 < counts[1] < counts[2] < counts[3] < 2 * N
    for encoder, want in zip(_encoders(), expected, strict=True):  # what is there is right
        missing = set(store.find_missing(encoder.space, [row.digest for row in images.used]))
        for i, row in enumerate(images.used):
            if row.digest not in missing:
                np.testing.assert_array_equal(store.get(encoder.space, [row.digest])[0], want[i])
    _filled(images, path).close()
    for got, want in zip(_load_features(images, store), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    assert _count(store) == 2 * N
    store.close()


def test_two_processes_fill_one_store_at_once(images, expected, tmp_path):
    path = tmp_path / "store.sqlite"
    both = [_start(images, path, pause=0.005) for _ in range(2)]
    for one in both:
        output, error = one.communicate(timeout=120)
        assert (output, one.returncode) == ("done\n", 0), error
    store = Store(path)
    for got, want in zip(_load_features(images, store), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    assert _count(store) == 2 * N
    store.close()
