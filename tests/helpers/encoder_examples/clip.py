"""A tiny CLIP in a folder."""

from helpers.tiny_checkpoints import save_clip


def make(folder, monkeypatch):
    return f"clip/local-dir:{save_clip(folder / 'clip', 'clip')}"
