"""A process that is killed while it saves arrays leaves no file that nobody deletes."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch

from ilk.core.leftovers import get_host
from ilk.training import checkpoint


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_writer_leaves_only_files_that_the_next_one_deletes(tmp_path: Path) -> None:
    path, arrays = tmp_path / "a.safetensors", {"a": torch.zeros(8_000_000)}
    ours = re.compile(rf"\.a\.safetensors\.{re.escape(get_host())}\.\d+\.part|a\.safetensors")
    for seconds in (0.02, 0.04, 0.06, 0.08, 0.1):
        child = os.fork()
        if child == 0:
            while True:
                checkpoint.save(arrays, path, {})
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert all(ours.fullmatch(name) for name in os.listdir(tmp_path)), os.listdir(tmp_path)
    checkpoint.save({"a": torch.ones(2)}, path, {})
    assert os.listdir(tmp_path) == [path.name]
