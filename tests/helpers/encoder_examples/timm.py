"""A tiny timm network in the hub client's cache, under a name of timm's own organisation."""

import pytest

from helpers.tiny_checkpoints import into_cache, save_timm


def make(folder, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    cache = folder / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    into_cache(save_timm(folder / "network"), cache, "timm/test_efficientnet.r160_in1k")
    return "timm/test_efficientnet.r160_in1k"
