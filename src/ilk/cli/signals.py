"""Ctrl-C, SIGTERM and SIGHUP: the first one ends the command in order, the second one at once."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP is that of a closed terminal
REPEAT_SECONDS = 0.05  # until a signal that was lost in a callback is delivered again


class Interruption(KeyboardInterrupt):
    """A signal that asks the process to end; handled wherever Ctrl-C is."""


class SignalHandler:
    """Turns the first signal into an `Interruption` and ends the process at the second one.

    Python runs a handler between two of its own instructions, so that a signal has to wait for the
    end of a long call of a library. The second one does not wait: a thread of its own sees it.

    Attributes:
        received: Number of the signal that was received; None before.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._n_repeated = 0

    def install(self) -> None:
        """Handle the signals of this process, except those that it was started to ignore."""
        numbers = [
            number
            for name in NAMES
            if (number := getattr(signal, name, None)) is not None  # Windows has no SIGHUP
            and signal.getsignal(number) is not signal.SIG_IGN
        ]
        for number in numbers:
            signal.signal(number, self.handle)
        sys.unraisablehook = self.handle_unraisable
        if os.name == "posix" and numbers:
            reader, writer = os.pipe()
            os.set_blocking(writer, False)
            signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
            watch = threading.Thread(target=self._watch, args=(reader, numbers), daemon=True)
            watch.start()

    def uninstall(self) -> None:
        """Leave further signals to the system, at the end of the process."""
        for name in NAMES:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == self.handle:
                signal.signal(number, signal.SIG_DFL)

    def _watch(self, reader: int, numbers: list[int]) -> None:
        n_seen = 0
        while received := os.read(reader, 1):
            n_seen += received[0] in numbers
            if n_seen - self._n_repeated > 1:
                os._exit(128 + received[0])

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """End the command, or the process if that is under way already."""
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        raise Interruption

    def handle_unraisable(self, unraisable: Any) -> None:
        """Deliver a signal again that arrived in a callback, whose errors Python drops."""
        if not isinstance(unraisable.exc_value, KeyboardInterrupt) or self.received is None:
            sys.__unraisablehook__(unraisable)
            return
        number, self.received = self.received, None
        self._n_repeated += 1
        timer = threading.Timer(REPEAT_SECONDS, _signal_main_thread, [number])
        timer.daemon = True
        timer.start()

    @property
    def exit_code(self) -> int:
        """128 plus the number of the signal, as shells report it; of Ctrl-C if there was none."""
        return 128 + (self.received or signal.SIGINT)

    def describe(self) -> str:
        """Say what happened and what to do, in one sentence for every signal."""
        number = self.received or signal.SIGINT
        name = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        return f"interrupted{name}. Finished work is saved; run the same command again to resume."


def _signal_main_thread(number: int) -> None:
    if hasattr(signal, "pthread_kill"):  # which also wakes a thread that waits
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(signal.Signals(number))


signals = SignalHandler()
