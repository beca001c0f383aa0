"""timm networks without their classifier, from a folder of `config.json` and `model.safetensors`.

`local-dir:PATH` is that folder; `hf-hub:ORG/NAME` is a hub repository that holds those files, and
`timm/NAME` the repository of that name in timm's own organisation. Weights in pickle are never
read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.encoders import hub
from ilk.encoders.checkpoint import shapes
from ilk.encoders.configs import from_timm, read_json
from ilk.encoders.preprocess import Preprocess
from ilk.encoders.torchvision_ops import cure
from ilk.errors import InputError, UnknownName

if TYPE_CHECKING:
    from torch.nn import Module

FILES = hub.Wanted(((("config.json", "model.safetensors"),),))


class TimmCheckpoint:
    """The network in `folder`."""

    family = "timm"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._config = read_json(folder / "config.json")
        if not isinstance(self._config.get("architecture"), str):
            raise InputError(f"{folder / 'config.json'} names no timm architecture")

    @cached_property
    def preprocess(self) -> Preprocess:
        return from_timm(self._config, str(self.folder / "config.json"))

    @cached_property
    def dim(self) -> int:
        """What the classifier of the checkpoint takes in; without one, what `config.json` says.

        In that order because some networks widen the features of their last stage.
        """
        told: Mapping[str, Any] = self._config.get("pretrained_cfg", self._config)
        heads = told.get("classifier") or ()
        held = shapes(self.folder / "model.safetensors")
        for head in [heads] if isinstance(heads, str) else heads:
            if len(shape := held.get(f"{head}.weight", ())) >= 2:
                return shape[1]
        if isinstance(known := self._config.get("num_features"), int):
            return known
        return self._tried()

    def _tried(self) -> int:
        import torch

        with torch.inference_mode():
            return int(self.network()(torch.zeros(1, 3, *self.preprocess.size)).shape[1])

    def network(self) -> Module:
        cure()
        import timm

        try:
            network: Module = timm.create_model(
                f"local-dir:{self.folder}", pretrained=True, num_classes=0
            )
        except (RuntimeError, TypeError, ValueError, KeyError, OSError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"timm cannot make a network of {self.folder}: {why}") from error
        return network.eval()


def open_folder(path: str) -> TimmCheckpoint:
    """`local-dir:PATH`."""
    hub.installed("timm", "timm")
    return TimmCheckpoint(hub.local(path, FILES))


def open_repo(repo: str) -> TimmCheckpoint:
    """`hf-hub:ORG/NAME`, with `@REVISION` if a certain one is wanted."""
    hub.installed("timm", "timm")
    return TimmCheckpoint(hub.fetch(repo, FILES))


def open_name(name: str) -> TimmCheckpoint:
    """`timm/NAME`.

    Raises:
        UnknownName: The files are not here and timm knows no such network; offers the nearest.
    """
    hub.installed("timm", "timm")
    if "." in name and (folder := hub.cached(f"timm/{name}", FILES)) is not None:
        return TimmCheckpoint(folder)
    return TimmCheckpoint(hub.fetch(_repo(name), FILES))


def _repo(name: str) -> str:
    """The hub repository of a network that timm knows; its first weights where none are named."""
    cure()
    import timm
    from timm.models import get_pretrained_cfg

    bare, _, revision = name.partition("@")
    config = None
    if timm.is_model(bare):
        try:
            config = get_pretrained_cfg(bare)
        except RuntimeError:
            config = None  # a network, but no such weights
    if config is None or not config.hf_hub_id:
        raise UnknownName("timm network", bare, timm.list_pretrained())
    whole = f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)
    repo = f"{config.hf_hub_id}{whole}" if config.hf_hub_id.endswith("/") else config.hf_hub_id
    return f"{repo}@{revision}" if revision else repo
