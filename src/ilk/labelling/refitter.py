"""`Refitter`: does the newest piece of work in the background, and never two at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

CLOSE_SECONDS = 5.0  # that closing waits for what is running


class Refitter:
    """Calls `work` in one thread after every `request`; requests while it runs become one.

    Args:
        work: What to do; it reads the newest state itself.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._is_requested = self._is_busy = self._is_closed = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ilk refit", daemon=True)
        self._thread.start()

    def request(self) -> None:
        """Ask for the work to be done again; returns at once."""
        with self._changed:
            self._is_requested = True
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is requested or running; return whether that is so.

        Raises:
            BaseException: What the work raised since the last call.
        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: not (self._is_requested or self._is_busy) or self._is_closed, timeout
            )
            error, self._error = self._error, None
        if error is not None:
            raise error
        return done

    @property
    def problem(self) -> str:
        """What the work raised since the last `wait`, as text; "" if it went well."""
        return "" if self._error is None else str(self._error) or type(self._error).__name__

    def close(self) -> None:
        """Stop after what is running, of which nothing is lost if it takes too long.

        It may never end: where Ctrl-C interrupts an import in another thread, Python can leave
        that module locked for every thread.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_requested or self._is_closed)
                if self._is_closed:
                    return
                self._is_requested, self._is_busy = False, True
            try:
                self._work()
            except BaseException as error:  # shown by the next `wait` or `progress`
                self._error = error
            finally:
                with self._changed:
                    self._is_busy = False
                    self._changed.notify_all()
