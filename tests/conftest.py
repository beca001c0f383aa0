"""What several tests stand on: a store of their own, and small folders of real digits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True, scope="session")
def own_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test touches the user's store."""
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ILK_STORE", str(path))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield path


def write_digits(home: Path, per_class: dict[str, int], seed: int = 0) -> Path:
    """Class folders of scikit-learn's digits; names may be anything whose last character is one."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    rng = np.random.default_rng(seed)
    for name, n in per_class.items():
        rows = rng.permutation(np.flatnonzero(bunch.target == int(name[-1])))[:n]
        (home / name).mkdir(parents=True, exist_ok=True)
        for i in rows:
            pixels = np.round(bunch.images[i] * 255 / 16).astype(np.uint8)
            Image.fromarray(pixels).save(home / name / f"{i:04d}.png")
    return home
