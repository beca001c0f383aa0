"""A compressed network of two convolutions."""

from __future__ import annotations

import pytest

from helpers.compressed_networks import write_network


def make(folder, monkeypatch):
    """Write it and return the name that opens it."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    write_network(folder / "network")
    return f"compressed:{folder / 'network'}"
