"""A folder of images in three colours, and sessions that label it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ilk.labelling.session import LabellingSession
from ilk.store import Store
from tests.helpers.coloured_images import write_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture
def open_session(folder: Path, tmp_path: Path) -> Iterator[Callable[..., LabellingSession]]:
    sessions: list[LabellingSession] = []

    def open_it(source: Any = folder, log: str = "log.sqlite", **settings: Any) -> LabellingSession:
        settings = {"encoder": "pixels/4x4x3", "store": Store(tmp_path / "store.sqlite")} | settings
        sessions.append(LabellingSession.open(source, tmp_path / log, **settings))
        return sessions[-1]

    yield open_it
    for session in sessions:
        session.close()
