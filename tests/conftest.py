"""Fixtures that every test gets: a feature store of its own, and no access to the hub."""

from __future__ import annotations

from collections.abc import Iterator
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
