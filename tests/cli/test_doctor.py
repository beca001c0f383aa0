"""`ilk doctor`: what it reports about the installation."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ilk import doctor
from ilk.encoders import resolve_encoder
from ilk.store import Store


@pytest.fixture(autouse=True)
def _own_store_and_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def check() -> dict[str, tuple[str, str]]:
    return {name: (state, detail) for name, state, detail in doctor.check_installation()}


def test_every_component_has_one_row_of_text() -> None:
    findings = doctor.check_installation()
    assert len({name for name, _, _ in findings}) == len(findings)
    assert all(isinstance(cell, str) for finding in findings for cell in finding)
    states = check()
    assert states["pixels"] == states["hog"] == ("ready", "needs no weights")
    assert states["numpy"][0] == np.__version__
    assert states["device"][0] in ("cpu", "cuda", "mps")


def test_the_store_is_described_by_its_rows(tmp_path: Path) -> None:
    assert check()["store"][0] == "empty"
    store = Store()
    encoder = resolve_encoder("pixels/2x2x1")
    store.put(encoder.space, ["ab" * 32, "cd" * 32], np.zeros((2, 4), np.float32))
    store.close()
    state, detail = check()["store"]
    assert state == "ok"
    assert str(tmp_path / "store.sqlite") in detail
    assert "2 rows" in detail


def test_a_file_that_is_not_a_store_is_reported(tmp_path: Path) -> None:
    (tmp_path / "store.sqlite").write_text("not a database at all, but long enough to be read")
    state, detail = check()["store"]
    assert state == "unusable"
    assert "not a database" in detail


def test_networks_in_the_hub_cache_are_listed(tmp_path: Path) -> None:
    default = "timm/convnext_nano.in12k"
    assert check()[default][0] == "missing"
    assert f"hf download {default} config.json" in check()[default][1]
    for repo in (default, "me/mine"):
        home = tmp_path / "hub" / ("models--" + repo.replace("/", "--"))
        (home / "snapshots" / "0").mkdir(parents=True)
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text("0")
        for file in ("config.json", "model.safetensors"):
            (home / "snapshots" / "0" / file).write_text("{}")
    states = check()
    assert states[default][0] == "ready"
    assert states["hf-hub:me/mine"][0] == "ready"


def test_a_missing_extra_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_find_version", lambda package: None if package == "timm" else "1")
    state, detail = check()["ilk[timm]"]
    assert state == "missing"
    assert "pip install 'ilk[timm]'" in detail
    assert check()["ilk[clip]"][0] == "ok"


def test_nothing_heavy_but_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from ilk.doctor import check_installation; check_installation()\n"
        "print([m for m in ('timm', 'transformers', 'torchvision', 'openvino', 'sklearn')"
        " if m in sys.modules])"
    )
    env = {**os.environ, "ILK_STORE": str(tmp_path / "store.sqlite")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "[]", done.stderr
