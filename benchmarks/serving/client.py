"""A server in a process of its own, and clients that ask it."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

BOUNDARY = "ilk-benchmark"
TOKEN = "benchmark"


@dataclass(frozen=True)
class Reply:
    """The answer to one request.

    Attributes:
        status: HTTP status, 0 for none.
        seconds: From request to answer.
    """

    status: int
    seconds: float


@dataclass(frozen=True)
class Server:
    """A running `ilk serve`.

    Attributes:
        process: Its process.
        host: Its host name.
        port: Its port.
        start_seconds: From the start of the process to its first healthy answer.
        first_answer_seconds: From the start of the process to its first answer about an image.
    """

    process: subprocess.Popen[str]
    host: str
    port: int
    start_seconds: float = 0.0
    first_answer_seconds: float = 0.0

    def read_megabytes(self) -> float:
        """Return the memory of the server and its decoders (resident set size)."""
        pids = [self.process.pid, *_list_children(self.process.pid)]
        return sum(_read_resident_bytes(pid) for pid in pids) / 2**20

    def read_cpu_seconds(self) -> float:
        """Return the processor time that the server and its decoders have used."""
        pids = [self.process.pid, *_list_children(self.process.pid)]
        return sum(_read_cpu_seconds(pid) for pid in pids)


@contextmanager
def start_server(model: Path, image: bytes) -> Iterator[Server]:
    """Start `ilk serve` for a model folder, ask about one image, and end it with the block."""
    started_at = time.perf_counter()
    command = [sys.executable, "-m", "ilk", "serve", str(model), "--port", "0", "--token", TOKEN]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = urlsplit(process.stdout.readline().split(" at ")[1])
        host, port = str(address.hostname), int(address.port or 0)
        connection = http.client.HTTPConnection(host, port)
        connection.request("GET", "/health")
        connection.getresponse().read()
        ready_at = time.perf_counter()
        ask(connection, image)
        yield Server(process, host, port, ready_at - started_at, time.perf_counter() - started_at)
        connection.close()
    finally:
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def make_unique(jpeg: bytes, number: int) -> bytes:
    """Return a JPEG of the same pixels with other bytes: a comment holds the number."""
    return jpeg[:2] + b"\xff\xfe\x00\x0a" + number.to_bytes(8, "big") + jpeg[2:]


def ask(
    connection: http.client.HTTPConnection,
    image: bytes,
    path: str = "/predict",
    label: str = "",
) -> Reply:
    """Send one image as a form, and return the answer."""
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="label"\r\n\r\n{label}\r\n'
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    start = (field if label else "") + head
    body = start.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = {
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Authorization": f"Bearer {TOKEN}",
    }
    started_at = time.perf_counter()
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        response.read()
        status = response.status
    except (OSError, http.client.HTTPException):
        connection.close()
        status = 0
    return Reply(status, time.perf_counter() - started_at)


def ask_many(server: Server, images: Sequence[bytes], n_clients: int) -> list[Reply]:
    """Return the answers to all images from clients that each wait for one at a time."""
    left, replies, lock = iter(images), list[Reply](), threading.Lock()

    def work() -> None:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=120)
        while True:
            with lock:
                image = next(left, None)
            if image is None:
                connection.close()
                return
            reply = ask(connection, image)
            with lock:
                replies.append(reply)

    _run_threads([threading.Thread(target=work) for _ in range(n_clients)])
    return replies


def ask_at_rate(server: Server, images: Sequence[bytes], per_second: float) -> list[Reply]:
    """Return the answers to images that are sent at fixed times, whatever the server does."""
    replies, lock = list[Reply](), threading.Lock()

    def send(image: bytes) -> None:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=120)
        reply = ask(connection, image)
        connection.close()
        with lock:
            replies.append(reply)

    threads, starts_at = [], time.perf_counter()
    for i, image in enumerate(images):
        time.sleep(max(0.0, starts_at + i / per_second - time.perf_counter()))
        threads.append(threading.Thread(target=send, args=(image,)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return replies


def _run_threads(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _list_children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task")
    if not path.exists():
        return []
    found = [(task / "children").read_text().split() for task in path.iterdir()]
    return [int(child) for children in found for child in children]


def _read_cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read_resident_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
