"""Decode images in processes of their own, whose memory and time are bounded.

An image that makes such a process run out of either, or crash, gets an answer that says so; the
process is started anew for the next one.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from PIL import Image

from ilk.images import ImageError, Row
from ilk.images.rows.row import row_from_json
from ilk.serve.limits import Limits
from ilk.serve.problems import Busy
from ilk.serve.worker_protocol import read_message, write_message

T = TypeVar("T")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PIPE_BYTES = 2**20  # of the pipes, where the system allows to set it


@dataclass(frozen=True)
class DecodedImage:
    """Pixels of an image.

    Attributes:
        image: RGB, 8 bits, upright.
        row: What is known of it: digest, size, format; `detail` is what is to be known besides.
    """

    image: Image.Image
    row: Row


class Decoder:
    """Decodes images in processes that are started when they are needed. Thread-safe.

    Args:
        limits: Memory, time and pixels per image, and the number of processes.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        for _ in range(self.limits.decoders):
            self._idle.put(_Worker(self.limits))
        self.n_killed, self._is_closed = 0, False

    def start(self) -> None:
        """Start the processes in the background, so that the first images do not wait for them."""
        for _ in range(self.limits.decoders):
            threading.Thread(target=self._warm_up, name="ilk start", daemon=True).start()

    def _warm_up(self) -> None:
        worker = self._idle.get()
        try:
            with suppress(ImageError, OSError):
                worker.ask({"ranges": {}, "side": 0, "pixels": 1}, b"")
        finally:
            self._give_back(worker)

    def decode(
        self, content: bytes, ranges: Mapping[str, tuple[float, float]] | None = None
    ) -> DecodedImage:
        """Return the pixels of an image file; see `decode_with`."""
        return self.decode_with(content, lambda decoded: decoded, ranges)

    def decode_with(
        self,
        content: bytes,
        use: Callable[[DecodedImage], T],
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> T:
        """Return what `use` makes of the pixels of an image file.

        As many images as there are processes are in memory at once: `use` is called before the
        process takes the next one.

        Args:
            content: Bytes of the file.
            use: Called with the pixels.
            ranges: Stored values that are black and white in images of more than 8 bits, by kind,
                as in `Classifier.value_ranges`.

        Raises:
            ImageError: It cannot be decoded, or took more memory or time than is allowed.
            Busy: All processes were busy for too long.
        """

        def receive(answer: dict[str, Any], body: bytes) -> T:
            image = Image.frombytes("RGB", tuple(answer["size"]), body)
            return use(DecodedImage(image, row_from_json(answer["row"])))

        return self._ask(content, {"ranges": dict(ranges or {}), "side": 0}, receive)

    def make_thumbnail(self, content: bytes, side: int) -> bytes:
        """Return an image file as a JPEG that fits a square of `side` pixels.

        Raises:
            ImageError: As `decode_with`.
            Busy: As `decode_with`.
        """
        return self._ask(content, {"ranges": {}, "side": side}, lambda _answer, body: body)

    def close(self) -> None:
        """End the processes; those that are at an image end after it."""
        self._is_closed = True
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().stop()

    def _give_back(self, worker: _Worker) -> None:
        if self._is_closed:
            worker.stop()
        self._idle.put(worker)

    def _ask(
        self,
        content: bytes,
        options: dict[str, Any],
        receive: Callable[[dict[str, Any], bytes], T],
    ) -> T:
        try:
            worker = self._idle.get(timeout=self.limits.seconds)
        except queue.Empty:
            raise Busy("too many images are waiting to be decoded; try again in a moment") from None
        try:
            head = {**options, "pixels": self.limits.pixels}
            answer, body = worker.ask(head, content)
            if "reason" in answer:
                raise ImageError(answer["reason"], answer["detail"])
            return receive(answer, body)
        finally:
            self.n_killed += worker.was_killed
            self._give_back(worker)


class _Worker:
    """One process, used by one thread at a time."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.was_killed = limits, False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process unless it runs."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.stop()  # closes the pipes of one that has ended
        command = [sys.executable, "-m", "ilk.serve.decoding_worker", str(self.limits.decode_bytes)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")},
            start_new_session=True,  # Ctrl-C is for the server, which ends it
        )
        _widen(self._process)
        return self._process

    def ask(self, head: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        """Return the answer of the process to an image.

        Raises:
            ImageError: It did not answer.
        """
        self.was_killed = False
        is_new = self._process is None or self._process.poll() is not None
        process = self.start()
        assert process.stdin is not None
        assert process.stdout is not None
        seconds = self.limits.decode_seconds + (START_SECONDS if is_new else 0)
        timer = threading.Timer(seconds, process.kill)
        timer.daemon = True
        timer.start()
        started_at = time.monotonic()
        try:
            write_message(process.stdin, head, content)
            answer, body = read_message(process.stdout)
        except (OSError, EOFError, ValueError):
            self.stop()
            self.was_killed = True
            is_late = time.monotonic() - started_at >= seconds
            limit = (
                f"took longer than {self.limits.decode_seconds:g} s to be decoded"
                if is_late
                else f"took more than {self.limits.decode_bytes // 2**20:,} MB of memory or made "
                "the decoder crash"
            )
            raise ImageError("too large" if is_late else "unreadable", f"it {limit}") from None
        finally:
            timer.cancel()
        return answer, body

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        process.wait()


START_SECONDS = 20.0  # that a process gets to start, on a busy machine


def _widen(process: subprocess.Popen[bytes]) -> None:
    """Let more bytes wait in the pipes of a process, so that both sides wait less often."""
    try:
        from fcntl import F_SETPIPE_SZ, fcntl  # only of Linux
    except ImportError:
        return
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                fcntl(stream.fileno(), F_SETPIPE_SZ, PIPE_BYTES)
