"""timm networks without their classifier, from `config.json` and `model.safetensors`.

`local-dir:PATH` is that folder; `hf-hub:ORG/NAME` is a hub repository that holds those files, and
`timm/NAME` the repository of that name in timm's own organisation. Weights in pickle are never
read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.core.errors import InputError, UnknownName
from ilk.encoders.network import NetworkEncoder, digest_folder
from ilk.encoders.options import EncoderOptions
from ilk.hub import client as hub
from ilk.hub.configs import parse_timm_config, read_json
from ilk.hub.preprocessing import Preprocess
from ilk.hub.safetensors_header import read_shapes
from ilk.hub.torchvision_ops import declare_missing_ops

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

    from ilk.architectures.patch_network import PatchNetwork

FORM = "timm/NAME"
DEFAULT = "timm/convnext_nano.in12k"
CREDIT = "ConvNeXt Nano by Ross Wightman, published with timm"
LICENSE = "Apache-2.0"
TRAINED_ON = "12,000 classes of ImageNet"
COST = 3
PACKAGE = "timm"
EXTRA = "timm"
REPO = "timm/convnext_nano.in12k"
CHECKPOINT_FILES = hub.RequiredFiles(((("config.json", "model.safetensors"),),))


class TimmCheckpoint:
    """A timm checkpoint in a folder."""

    family = "timm"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._config = read_json(folder / "config.json")
        if not isinstance(self._config.get("architecture"), str):
            raise InputError(f"{folder / 'config.json'} names no timm architecture")

    @cached_property
    def preprocess(self) -> Preprocess:
        return parse_timm_config(self._config, str(self.folder / "config.json"))

    @cached_property
    def dim(self) -> int:
        """Input width of the checkpoint's classifier; without one, what `config.json` says.

        In that order because some networks widen the features of their last stage.
        """
        pretrained: Mapping[str, Any] = self._config.get("pretrained_cfg", self._config)
        heads = pretrained.get("classifier") or ()
        tensor_shapes = read_shapes(self.folder / "model.safetensors")
        for head in [heads] if isinstance(heads, str) else heads:
            if len(shape := tensor_shapes.get(f"{head}.weight", ())) >= 2:
                return shape[1]
        if isinstance(num_features := self._config.get("num_features"), int):
            return num_features
        return self._measure_dim()

    def _measure_dim(self) -> int:
        import torch

        with torch.inference_mode():
            return int(self.build_network()(torch.zeros(1, 3, *self.preprocess.size)).shape[1])

    def digest_files(self) -> dict[str, str]:
        """Return the digests of configuration and weights."""
        return digest_folder(self.folder)

    def build_network(self) -> Module:
        declare_missing_ops()
        import timm

        try:
            network: Module = timm.create_model(
                f"local-dir:{self.folder}", pretrained=True, num_classes=0
            )
        except (RuntimeError, TypeError, ValueError, KeyError, OSError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"timm cannot build the network in {self.folder}: {why}") from error
        return network.eval()

    def build_patches(self, size: tuple[int, int]) -> PatchNetwork:
        """Return the network of patches, from the outputs of its blocks.

        Raises:
            InputError: timm gives none for this network.
        """
        from ilk.architectures.patch_network import PatchNetwork

        try:
            return PatchNetwork(self.build_network(), _list_stages, size).eval()
        except (AttributeError, AssertionError, RuntimeError, TypeError, ValueError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"timm gives no blocks of the network in {self.folder}: {why}"
            ) from error


def _list_stages(network: Any, x: Tensor) -> list[Tensor]:
    """Return the outputs `[b, c, h', w']` of the blocks of a network of timm."""
    maps: list[Tensor] = network.forward_intermediates(
        x, intermediates_only=True, output_fmt="NCHW"
    )
    return maps


def open_model(name: str) -> TimmCheckpoint:
    """Open the checkpoint of `timm/NAME`.

    Raises:
        UnknownName: The files are not on this machine and timm knows no such network; the message
            suggests the nearest names.
    """
    hub.require_package("timm", "timm")
    if "." in name and (folder := hub.find_cached(f"timm/{name}", CHECKPOINT_FILES)) is not None:
        return TimmCheckpoint(folder)
    return TimmCheckpoint(hub.fetch(_find_repo(name), CHECKPOINT_FILES))


def open_encoder(name: str, options: EncoderOptions) -> NetworkEncoder:
    """Open `timm/NAME`; raises what `open_model` raises."""
    checkpoint = open_model(name.partition("/")[2])
    return NetworkEncoder(name, checkpoint, options.device, options.runtime, options.precision)


def _find_repo(name: str) -> str:
    """Return the hub repository of a network of timm; its first weights if none are named."""
    declare_missing_ops()
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
    full_name = f"{config.architecture}.{config.tag}" if config.tag else str(config.architecture)
    repo = f"{config.hf_hub_id}{full_name}" if config.hf_hub_id.endswith("/") else config.hf_hub_id
    return f"{repo}@{revision}" if revision else repo
