"""A calibration that is quick, a store and an encoder."""

from __future__ import annotations

import pytest

from ilk.deduplication import calibration
from ilk.encoders import resolve_encoder
from ilk.images import Images
from ilk.store import Store


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(calibration, "N_ORIGINALS", 5)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store.sqlite")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def hog():
    return resolve_encoder("hog", images=Images(None, ()))
