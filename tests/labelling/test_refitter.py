"""Refits in the background: one after the other, and none that holds a program up."""

import threading

from ilk.labelling import refitter
from ilk.labelling.refitter import Refitter


def test_closing_does_not_wait_for_ever_for_work_that_hangs(monkeypatch):
    """As after Ctrl-C in an import, which can leave its module locked for every thread."""
    monkeypatch.setattr(refitter, "CLOSE_SECONDS", 0.05)
    is_running, may_end = threading.Event(), threading.Event()

    def work():
        is_running.set()
        may_end.wait(60)

    running = Refitter(work)
    running.request()
    assert is_running.wait(20)
    closing = threading.Thread(target=running.close, daemon=True)
    closing.start()
    closing.join(20)
    has_closed = not closing.is_alive()
    may_end.set()
    assert has_closed


def test_closing_waits_for_work_that_ends():
    done = []
    may_end = threading.Event()

    def work():
        may_end.wait(20)
        done.append(True)

    running = Refitter(work)
    running.request()
    threading.Timer(0.1, may_end.set).start()
    while not running._is_busy:
        pass
    running.close()
    assert done == [True]
