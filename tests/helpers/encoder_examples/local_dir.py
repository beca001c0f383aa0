"""A tiny timm network in a folder."""

from helpers.tiny_checkpoints import save_timm


def make(folder, monkeypatch):
    return f"local-dir:{save_timm(folder / 'network')}"
