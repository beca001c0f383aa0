"""Fixtures that every test gets: a feature store of its own, and no access to the hub."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test touches the user's store."""
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ILK_STORE", str(path))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield path


@pytest.fixture(autouse=True)
def same_folder() -> Iterator[None]:
    """No test leaves the process in another folder, where the next ones do not find their files."""
    before = os.getcwd()
    yield
    assert os.getcwd() == before


def _restore_signals() -> None:
    """Stop ignoring signals, as a run in the background does: processes started here inherit it."""
    for name in ("SIGINT", "SIGHUP"):
        number = getattr(signal, name, None)
        with suppress(ValueError):  # not in the main thread
            if number is not None and signal.getsignal(number) == signal.SIG_IGN:
                default = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
                signal.signal(number, default)


_restore_signals()
