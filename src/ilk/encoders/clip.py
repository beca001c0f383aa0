"""CLIP and SigLIP through transformers: images and texts in one space.

Radford et al. 2021, arXiv:2103.00020; Zhai et al. 2023, arXiv:2303.15343. `clip/ORG/NAME` is a hub
repository, `clip/local-dir:PATH` a folder with the same files. Weights in pickle are never read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ilk.data import Features
from ilk.encoders import hub
from ilk.encoders.checkpoint import shapes
from ilk.encoders.configs import from_transformers, read_json
from ilk.encoders.network import Network
from ilk.encoders.preprocess import Preprocess
from ilk.encoders.torchvision_ops import cure
from ilk.errors import InputError, Unavailable

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

FILES = hub.Wanted(
    (
        (("config.json", "model.safetensors"),),
        # The second is where newer versions put the preprocessing of both sides.
        (("preprocessor_config.json",), ("processor_config.json",)),
        (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",)),
    ),
    extra=("tokenizer_config.json", "special_tokens_map.json"),
)
WIDTH = {  # the tensor whose first dimension is the width of the common space
    "clip": "visual_projection.weight",
    "siglip": "vision_model.head.layernorm.weight",
}


class ClipCheckpoint:
    """The two-sided network in `folder`."""

    family = "clip"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kind = read_json(folder / "config.json").get("model_type", "")
        if self.kind not in WIDTH:
            raise InputError(
                f"{folder / 'config.json'} is of a {self.kind or 'nameless'} network; "
                f"clip/ reads {' and '.join(WIDTH)}"
            )

    @cached_property
    def preprocess(self) -> Preprocess:
        path = self.folder / "preprocessor_config.json"
        if path.is_file():
            return from_transformers(read_json(path), self.kind, str(path))
        path = self.folder / "processor_config.json"
        told = read_json(path).get("image_processor")
        if not isinstance(told, dict):
            raise InputError(f"{path} says nothing of the images; add preprocessor_config.json")
        return from_transformers(told, self.kind, str(path))

    @cached_property
    def dim(self) -> int:
        held = shapes(self.folder / "model.safetensors")
        if WIDTH[self.kind] not in held:
            raise InputError(f"{self.folder / 'model.safetensors'} lacks {WIDTH[self.kind]}")
        return held[WIDTH[self.kind]][0]

    @cached_property
    def both(self) -> Any:
        """The whole network in float32 on the CPU."""
        cure()
        import torch
        from transformers import AutoModel

        try:
            with _no_bar():
                model = AutoModel.from_pretrained(
                    self.folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
                )
        except (RuntimeError, TypeError, ValueError, KeyError, OSError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"cannot make a network of {self.folder}: {why}") from error
        return model.eval().requires_grad_(False)

    def network(self) -> Module:
        from torch import nn

        class ImageSide(nn.Module):
            def __init__(self, both: Any) -> None:
                super().__init__()
                self.both = both

            def forward(self, x: Tensor) -> Tensor:
                return _pooled(self.both.get_image_features(pixel_values=x))

        return ImageSide(self.both)

    @cached_property
    def tokenizer(self) -> Any:
        cure()
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        except ImportError as error:  # SigLIP's, where it comes without its compiled form
            raise Unavailable(
                f"the tokenizer of {self.folder} needs another package; "
                "run: pip install sentencepiece protobuf"
            ) from error
        except (RuntimeError, TypeError, ValueError, KeyError, OSError) as error:
            raise InputError(f"cannot read the tokenizer of {self.folder}: {error}") from error

    def tokens(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Texts as the network was trained to read them: SigLIP's are padded to full length."""
        found = self.tokenizer(
            list(prompts),
            padding="max_length" if self.kind == "siglip" else True,
            truncation=True,
            max_length=self.both.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        return {k: found[k] for k in ("input_ids", "attention_mask") if k in found}


class Clip(Network):
    """An encoder that also reads text. Image features are raw, text features have length 1."""

    checkpoint: ClipCheckpoint

    def __init__(
        self, name: str, checkpoint: ClipCheckpoint, device: str, runtime: str, precision: str
    ) -> None:
        super().__init__(name, checkpoint, device, runtime, precision)
        self._reading = threading.Lock()

    def embed_text(self, prompts: Sequence[str]) -> Features:
        """Where texts lie in the common space, `[k, d]`, of length 1."""
        self.load()
        import torch

        found: list[Features] = []
        with self._reading, torch.inference_mode():
            both = self.checkpoint.both
            for i in range(0, len(prompts), 64):
                tokens = self.checkpoint.tokens(prompts[i : i + 64])
                tokens = {k: v.to(both.device) for k, v in tokens.items()}
                found.append(_pooled(both.get_text_features(**tokens)).float().cpu().numpy())
        x = np.concatenate(found) if found else np.zeros((0, self.space.dim), np.float32)
        return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


@contextmanager
def _no_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar of its own while it reads weights."""
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def _pooled(features: Any) -> Tensor:
    """The projected features: transformers 5 wraps them, 4 does not."""
    pooled: Tensor = getattr(features, "pooler_output", features)
    return pooled


def open_folder(path: str) -> ClipCheckpoint:
    """`clip/local-dir:PATH`."""
    hub.installed("transformers", "clip")
    return ClipCheckpoint(hub.local(path, FILES))


def open_repo(repo: str) -> ClipCheckpoint:
    """`clip/ORG/NAME`."""
    hub.installed("transformers", "clip")
    return ClipCheckpoint(hub.fetch(repo, FILES))
