"""What the doctor finds."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from ilk import doctor
from ilk.encoders import choice, resolve
from ilk.store import Store


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def _found():
    return {what: (state, detail) for what, state, detail in doctor.examine()}


def test_every_finding_is_a_row_of_words_under_its_own_name():
    findings = doctor.examine()
    assert len({what for what, _, _ in findings}) == len(findings)
    assert all(isinstance(word, str) for finding in findings for word in finding)
    found = _found()
    assert found["pixels"] == found["hog"] == ("ready", "no weights")
    assert found["numpy"][0] == np.__version__
    assert found["device"][0] in ("cpu", "cuda", "mps")


def test_the_store_is_told_by_its_rows(tmp_path):
    assert _found()["store"][0] == "empty"
    store = Store()
    encoder = resolve("pixels/2x2x1")
    store.put(encoder.space, ["ab" * 32, "cd" * 32], np.zeros((2, 4), np.float32))
    store.close()
    state, detail = _found()["store"]
    assert state == "ok"
    assert str(tmp_path / "store.sqlite") in detail
    assert "2 rows" in detail


def test_a_file_that_is_no_store_is_told(tmp_path):
    (tmp_path / "store.sqlite").write_text("no database at all, but long enough to be looked at")
    state, detail = _found()["store"]
    assert state == "unusable"
    assert "not a database" in detail


def test_networks_in_the_cache_are_told(tmp_path):
    assert _found()[choice.TIMM][0] == "missing"
    assert f"hf download {choice.TIMM} config.json" in _found()[choice.TIMM][1]
    for repo in (choice.TIMM, "me/mine"):
        home = tmp_path / "hub" / ("models--" + repo.replace("/", "--"))
        (home / "snapshots" / "0").mkdir(parents=True)
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text("0")
        for file in ("config.json", "model.safetensors"):
            (home / "snapshots" / "0" / file).write_text("{}")
    found = _found()
    assert found[choice.TIMM][0] == "ready"
    assert found["hf-hub:me/mine"][0] == "ready"


def test_missing_extras_come_with_their_command(monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda package: None if package == "timm" else "1")
    state, detail = _found()["ilk[timm]"]
    assert state == "missing"
    assert "pip install 'ilk[timm]'" in detail
    assert _found()["ilk[clip]"][0] == "ok"


def test_nothing_heavy_but_torch_is_imported(tmp_path):
    code = (
        "import sys; from ilk.doctor import examine; examine()\n"
        "print([m for m in ('timm', 'transformers', 'torchvision', 'openvino', 'sklearn')"
        " if m in sys.modules])"
    )
    env = {**os.environ, "ILK_STORE": str(tmp_path / "store.sqlite")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "[]", done.stderr
