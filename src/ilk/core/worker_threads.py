"""A pool of threads that can be interrupted, and goes on without threads whose files do not answer.

The threads of `concurrent.futures` are joined when the interpreter ends, so that one thread that
waits for a disconnected drive would keep the process from ending. These are daemon threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

from ilk.core import blocked_reads

T = TypeVar("T")
POLL_SECONDS = 0.5  # between looks at threads that may be blocked
ABANDON_SECONDS = 1.0  # in one read, after which an interrupted run does not wait for a thread


class Task(Generic[T]):
    """A call to be made by some thread of a pool."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.call = call
        self.future: Future[T] = Future()
        self.thread: int | None = None  # the one that makes the call
        self._lock = threading.Lock()

    def run(self) -> None:
        """Make the call, and keep what it returns or raises."""
        self.thread = threading.get_ident()
        try:
            outcome: Any = self.call()
            keep = self.future.set_result
        except BaseException as error:
            outcome, keep = error, self.future.set_exception  # type: ignore[assignment]
        with self._lock:  # a call that was given up may still return
            if not self.future.done():
                keep(outcome)


class WorkerThreads:
    """A pool of daemon threads, as a context manager; leaving it ends the threads.

    Args:
        n_threads: Number of threads.
        name: What the threads are called.
        initializer: Called first by every thread.
    """

    def __init__(
        self, n_threads: int, name: str = "worker", initializer: Callable[[], object] | None = None
    ) -> None:
        self._queue: SimpleQueue[Task[Any] | None] = SimpleQueue()
        self._name, self._initializer = name, initializer or (lambda: None)
        self._running: dict[threading.Thread, Task[Any] | None] = {}
        self._is_stopped = False
        for _ in range(n_threads):
            self._start_thread()

    def __enter__(self) -> WorkerThreads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _value: object, _traceback: TracebackType | None
    ) -> None:
        self._is_stopped = True
        for _ in self._running:
            self._queue.put(None)
        while waited := [
            thread
            for thread in list(self._running)
            if thread.is_alive()
            and (
                kind is None or blocked_reads.get_read_seconds(thread.ident or 0) < ABANDON_SECONDS
            )
        ]:
            waited[0].join(POLL_SECONDS / 10)

    def submit(self, call: Callable[[], T]) -> Task[T]:
        """Let a thread make a call."""
        task = Task(call)
        self._queue.put(task)
        return task

    def get_result(self, task: Task[T]) -> T:
        """Return what a call returns, or raise what it raises; can be interrupted.

        Calls of threads that are blocked are made again by new threads: they then refuse the file.

        Raises:
            InputError: Several files in a row gave no answer.
        """
        while not task.future.done():
            wait([task.future], timeout=POLL_SECONDS)
            if not task.future.done():
                self._replace_blocked()
        return task.future.result()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._running[thread] = None
        thread.start()

    def _work(self) -> None:
        thread = threading.current_thread()
        self._initializer()
        while (task := self._queue.get()) is not None and not self._is_stopped:
            self._running[thread] = task
            task.run()
            if thread not in self._running:  # another one took its place meanwhile
                return
            self._running[thread] = task = None  # and its result can be released

    def _replace_blocked(self) -> None:
        for thread, task in list(self._running.items()):
            if task is not None and blocked_reads.is_blocked(thread.ident or 0):
                del self._running[thread]
                self._start_thread()
                self._queue.put(task)
