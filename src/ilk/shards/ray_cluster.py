"""A Ray cluster: connected to, or started on this machine, within a bounded time."""

from __future__ import annotations

import io
import math
import os
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from importlib.util import find_spec
from shutil import rmtree
from threading import current_thread
from typing import Any, TextIO, cast

from ilk.core.cores import count_cores
from ilk.core.errors import InputError, Unavailable
from ilk.hub.client import require_package
from ilk.shards.engines import EngineOptions

CLIENT = "ray://"
CLIENT_PORT = 10001  # of Ray's own client server
ANSWER_SECONDS = 10.0  # within which a machine takes a connection
OBJECT_STORE = 100 * 2**20  # bytes; only numbers of shards and counts pass through it
MAX_SOCKET_FOLDER = 40  # characters, so that Ray's sockets below it stay under the system's 107
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_NUM_REDIS_GET_RETRIES": "1",  # of 40 s each, for a cluster that takes a connection only
    "RAY_worker_niceness": "0",  # workers do the work; at 15 any other process starves them
}


def get_address(options: EngineOptions) -> str:
    """Return the address to connect to; "" starts a cluster on this machine.

    `--on ray` alone takes the cluster that the variable `RAY_ADDRESS` names, if it is set.
    """
    address = options.address or os.environ.get("RAY_ADDRESS", "")
    if address == "local":
        return ""
    if address.startswith(CLIENT) and ":" not in address.removeprefix(CLIENT):
        return f"{address}:{CLIENT_PORT}"
    return address


@contextmanager
def connect(options: EngineOptions) -> Iterator[Any]:
    """Connect to the cluster, or start one; yield the module `ray`, and disconnect at the end.

    What threads of Ray print is left out, since standard output belongs to the command's result.

    Raises:
        Unavailable: Ray is not installed, or the cluster does not answer.
        InputError: The address is none.
    """
    require_package("ray", "ray")
    require_package("pandas", "ray")
    address = get_address(options)
    if address.startswith(CLIENT) and find_spec("grpc") is None:
        raise Unavailable(
            f"{address} needs Ray's client, which is not installed; run: pip install 'ilk[ray]'"
        )
    _check_answers(address)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    handler = signal.getsignal(signal.SIGTERM)
    own_lines = cast(TextIO, _WithoutRay(sys.stdout))
    with redirect_stdout(own_lines), warnings.catch_warnings(action="ignore"):
        import ray

        home = "" if address else _make_home()
        try:
            asked = math.ceil((options.actors or 1) * (options.cpus_per_actor or 1))
            _initialize(ray, address, home, max(count_cores(), asked))
            with suppress(ValueError):  # not the main thread, where Ray has set no handler either
                signal.signal(signal.SIGTERM, handler)
            yield ray
        finally:
            try:
                with redirect_stdout(io.StringIO()):  # lines that Ray held back, and prints now
                    ray.shutdown()
            finally:
                if home:
                    rmtree(home, ignore_errors=True)


class _WithoutRay:
    """Standard output without what Ray's own threads write to it, such as news of dead workers."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if self._stream is None or current_thread().name.startswith("ray_"):
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _initialize(ray: Any, address: str, home: str, n_cores: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    try:
        if address:
            ray.init(address, **quiet)
            return
        ray.init(
            "local",
            num_cpus=n_cores,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE,
            **quiet,
            **({"_temp_dir": home} if home else {}),
        )
    except Exception as error:  # Ray raises ConnectionError, RuntimeError, ValueError, RpcError
        detail = str(error).strip().splitlines()
        reason = detail[-1] if detail else type(error).__name__
        if not address:
            raise Unavailable(
                f"Ray does not start on this machine ({reason}); encode with --on local"
            ) from error
        raise Unavailable(
            f"the cluster at {address} does not take the connection ({reason}); check the address "
            "and that both sides have the same versions of Ray and Python, and set "
            "RAY_AUTH_MODE=token if it asks for a token"
        ) from error


def _check_answers(address: str) -> None:
    """Raise an error unless the machine at `address` takes a connection within seconds."""
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    if not address or address == "auto":
        return
    if not (host and port.isdigit()):
        raise InputError(
            f"{address} is not the address of a cluster; give ray://HOST or ray://HOST:PORT"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise Unavailable(
            f"no cluster answers at {address} ({error}); start it with `ray start --head`, or "
            "check host and port"
        ) from None


def _make_home() -> str:
    """Return a new folder for logs and sockets; "" where its path would be too long."""
    for parent in (tempfile.gettempdir(), "/tmp"):
        if sys.platform != "win32" and len(parent) <= MAX_SOCKET_FOLDER - 16:
            with suppress(OSError):
                return tempfile.mkdtemp(prefix="ilk-ray-", dir=parent)
    return ""
