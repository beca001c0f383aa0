"""Memory that is freed stays in the process, where the allocator is glibc's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ilk.core import allocator

CODE = """
import resource, sys, threading
import numpy as np
from ilk.core.allocator import keep_freed_memory

kept = sys.argv[1] == "keep" and keep_freed_memory()

def work():
    global faults
    for i in range(12):
        if i == 2:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones(20_000_000, np.float32)  # 80 MB: more than an arena of a thread can hold
    faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10

thread = threading.Thread(target=work)
thread.start()
thread.join()
print(kept, faults)
"""


def run(mode: str, **env: str) -> tuple[str, float]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC", "GLIBC"))}
    done = subprocess.run(
        [sys.executable, "-c", CODE, mode],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, **env},
    )
    kept, faults = done.stdout.split()
    return kept, float(faults)


def is_glibc() -> bool:
    return sys.platform == "linux" and bool(os.confstr("CS_GNU_LIBC_VERSION"))


def test_a_block_that_was_freed_costs_no_page_faults() -> None:
    if not is_glibc():
        pytest.skip("the allocator is not glibc's")
    assert run("keep")[0] == "True"
    assert run("keep")[1] * 20 < run("leave")[1]


def test_settings_of_the_user_are_left_alone() -> None:
    for name in allocator.USER_SETTINGS:
        assert run("keep", **{name: "1000000"})[0] == "False"
    assert run("keep", GLIBC_TUNABLES="glibc.malloc.trim_threshold=9")[0] == "False"


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert not allocator._configure()
