"""Two processes that write one model folder, and a reader meanwhile, always find a whole model."""

import subprocess
import sys
import time

import numpy as np
import pytest

from ilk.artifacts import model_folder
from ilk.core.errors import ArtifactError

WRITER = """
import sys
import numpy as np
from pathlib import Path
from ilk.artifacts import model_folder
folder, tag = Path(sys.argv[1]), sys.argv[2]
sys.stdin.readline()
for i in range(40):
    weights = f"{tag} {i} ".encode() * 5000
    encoder = {"name": "pixels:4", "key": "4"}
    about = {"tag": f"{tag} {i}", "parts": {}, "classes": ["a", "b"], "encoder": encoder}
    model_folder.write(folder, weights, about, side_files={"report.html": about["tag"].encode()})
"""


def describe(tag):
    encoder = {"name": "pixels:4", "key": "4"}
    return {"tag": tag, "parts": {}, "classes": ["a", "b"], "encoder": encoder}


def start(*args):
    return subprocess.Popen(
        [sys.executable, "-c", *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_tag(folder):
    weights, description = model_folder.read(folder)
    tag = description["tag"]
    assert weights == f"{tag} ".encode() * 5000
    return tag


def test_two_writers_and_a_reader(tmp_path):
    folder = tmp_path / "model"
    model_folder.write(folder, b"first 0 " * 5000, describe("first 0"))
    writers = [start(WRITER, str(folder), tag) for tag in ("one", "two")]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    deadline = time.monotonic() + 60
    while any(writer.poll() is None for writer in writers):
        assert time.monotonic() < deadline
        read_tag(folder)
    for writer in writers:
        _, said = writer.communicate()
        assert writer.returncode == 0, said
    last = read_tag(folder)
    assert last in ("one 39", "two 39")
    assert (folder / "report.html").read_text() == last
    weights = [path.name for path in folder.glob("*.safetensors")]
    assert len(weights) == 1
    assert not list(folder.glob("*.ilk-new"))


KILLED = WRITER.replace("range(40)", "range(10**6)")


def test_a_writer_that_is_killed_leaves_the_old_model_or_the_new_one(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "model"
    model_folder.write(folder, b"first 0 " * 5000, describe("first 0"))
    for _ in range(8):
        writer = start(KILLED, str(folder), "killed")
        writer.stdin.write("go\n")
        writer.stdin.flush()
        before = read_tag(folder)
        while read_tag(folder) == before:
            assert writer.poll() is None, writer.communicate()[1]
        time.sleep(float(rng.uniform(0, 0.05)))
        writer.kill()
        writer.communicate()
        tag = read_tag(folder)
        assert (folder / "report.html").read_text() == tag
        model_folder.write(folder, b"whole 1 " * 5000, describe("whole 1"))
        assert read_tag(folder) == "whole 1"


def test_a_missing_model_is_still_told_at_once(tmp_path):
    with pytest.raises(ArtifactError, match="contains no ilk classifier"):
        model_folder.read(tmp_path)
