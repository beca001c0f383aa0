"""Processes of a cluster on this machine: found by their parents, and killed."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WORKER = "ray::MapWorker"
HOLDER = """
import sys, tempfile, ray
from shutil import rmtree
home = tempfile.mkdtemp(prefix="ilk-bench-", dir="/tmp")
ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20,
         log_to_driver=False, logging_level="CRITICAL", _temp_dir=home)
print("ADDRESS", ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
ray.shutdown()
rmtree(home, ignore_errors=True)
"""
START_SECONDS = 300.0


def find_descendants(pid: int) -> list[tuple[int, str]]:
    """Return pid and command line of all processes that descend from `pid`."""
    children: dict[int, list[int]] = defaultdict(list)
    lines: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError, ValueError, IndexError):
            status = (entry / "stat").read_text().rpartition(")")[2].split()
            if status[0] != "Z":
                children[int(status[1])].append(int(entry.name))
                text = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                lines[int(entry.name)] = text.decode(errors="replace")
    found, queue = [], [pid]
    while queue:
        for child in children[queue.pop()]:
            found.append((child, lines[child]))
            queue.append(child)
    return found


def find_workers(root: int) -> list[int]:
    """Return the processes of actors that encode, below the process that started the cluster."""
    return sorted(pid for pid, line in find_descendants(root) if line.startswith(WORKER))


def wait_for_workers(root: int, process: subprocess.Popen[str], before: Collection[int]) -> bool:
    """Wait until there is an actor that was not there `before`; False if `process` ended first."""
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        if set(find_workers(root)) - set(before):
            return True
        time.sleep(0.05)
    return False


def kill(pid: int) -> bool:
    """Kill a process as the system does when memory is short; whether it was still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def hold_cluster() -> Iterator[tuple[int, dict[str, str]]]:
    """Start a cluster of two cores; yield the process that holds it, and variables to find it."""
    with tempfile.TemporaryDirectory() as folder:
        token = Path(folder) / "token"
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
        variables |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
        holder = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", HOLDER],
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdin is not None, "a pipe"
        assert holder.stdout is not None, "a pipe"
        try:
            for line in holder.stdout:
                if line.startswith("ADDRESS "):
                    variables["RAY_ADDRESS"] = line.split()[1]
                    break
            else:
                raise RuntimeError("the cluster did not start")
            yield holder.pid, variables
        finally:
            holder.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                holder.wait(60)
            holder.kill()
            holder.wait()
