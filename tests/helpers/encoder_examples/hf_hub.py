"""A tiny timm network in the hub client's cache, under someone's own name."""

import pytest

from helpers.tiny_checkpoints import into_cache, save_timm


def make(folder, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    cache = folder / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    into_cache(save_timm(folder / "network"), cache, "me/mine")
    return "hf-hub:me/mine"
