"""How an index is built and searched, and how its images are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ilk.images import Images
from ilk.retrieval.kinds import AUTO
from ilk.store import Store

NONE = "none"
ReadImages = Callable[[str, Store, Mapping[str, tuple[float, float]] | None], Images]
"""Reads a folder of images: its path, the store, and the value ranges of a model or None."""


@dataclass(frozen=True)
class SearchOptions:
    """How an index is built and searched.

    Attributes:
        encoder: Name of the encoder; "" for that of the model or index, else `default`.
        model: Model folder whose encoder is used; "" for none.
        kind: Kind of index, or auto.
        projection: auto tries projections where an index is saved; none; or one of them.
        index: Folder that keeps the index between calls; "" for none.
        device: auto, cpu, cuda, cuda:N or mps.
        runtime: auto, torch, openvino or onnxruntime.
        fetch: Fetch files of a saved encoder that are not on this machine.
        seed: Seed of samples.
    """

    encoder: str = ""
    model: str = ""
    kind: str = AUTO
    projection: str = AUTO
    index: str = ""
    device: str = "auto"
    runtime: str = "auto"
    fetch: bool = False
    seed: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """Where and how a network runs, for `resolve_encoder`."""
        return {"device": self.device, "runtime": self.runtime}
