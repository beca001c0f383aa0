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

from ilk.core.data import Features
from ilk.core.errors import InputError, Unavailable
from ilk.encoders.network import NetworkEncoder, digest_folder
from ilk.encoders.options import EncoderOptions
from ilk.hub import client as hub
from ilk.hub.configs import parse_transformers_config, read_json
from ilk.hub.preprocessing import Preprocess
from ilk.hub.safetensors_header import read_shapes
from ilk.hub.torchvision_ops import declare_missing_ops

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

FORM = "clip/ORG/NAME"
DEFAULT = "clip/laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
CREDIT = "CLIP ViT-B/32 by LAION, trained with OpenCLIP"
LICENSE = "MIT"
TRAINED_ON = "images and captions of LAION-2B"
COST = 4
PACKAGE = "transformers"
EXTRA = "clip"
REPO = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
CHECKPOINT_FILES = hub.RequiredFiles(
    (
        (("config.json", "model.safetensors"),),
        # The second is where newer versions put the preprocessing of both sides.
        (("preprocessor_config.json",), ("processor_config.json",)),
        (("tokenizer.json",), ("vocab.json", "merges.txt"), ("spiece.model",)),
    ),
    optional=("tokenizer_config.json", "special_tokens_map.json"),
)
WIDTH_TENSORS = {  # the tensor whose first dimension is the width of the common space
    "clip": "visual_projection.weight",
    "siglip": "vision_model.head.layernorm.weight",
}


class ClipCheckpoint:
    """A checkpoint with an image and a text tower."""

    family = "clip"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model_type = read_json(folder / "config.json").get("model_type", "")
        if self.model_type not in WIDTH_TENSORS:
            raise InputError(
                f"{folder / 'config.json'} describes a {self.model_type or 'nameless'} network; "
                f"clip/ supports {' and '.join(WIDTH_TENSORS)}"
            )

    @cached_property
    def preprocess(self) -> Preprocess:
        path = self.folder / "preprocessor_config.json"
        if path.is_file():
            return parse_transformers_config(read_json(path), self.model_type, str(path))
        path = self.folder / "processor_config.json"
        config = read_json(path).get("image_processor")
        if not isinstance(config, dict):
            raise InputError(f"{path} has no image preprocessing; add preprocessor_config.json")
        return parse_transformers_config(config, self.model_type, str(path))

    @cached_property
    def dim(self) -> int:
        tensor_shapes = read_shapes(self.folder / "model.safetensors")
        if WIDTH_TENSORS[self.model_type] not in tensor_shapes:
            raise InputError(
                f"{self.folder / 'model.safetensors'} lacks {WIDTH_TENSORS[self.model_type]}"
            )
        return tensor_shapes[WIDTH_TENSORS[self.model_type]][0]

    @cached_property
    def full_model(self) -> Any:
        """Both towers, in float32 on the CPU."""
        declare_missing_ops()
        import torch
        from transformers import AutoModel

        try:
            with _hide_progress_bar():
                model = AutoModel.from_pretrained(
                    self.folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
                )
        except (RuntimeError, TypeError, ValueError, KeyError, OSError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"cannot build the network in {self.folder}: {why}") from error
        return model.eval().requires_grad_(False)

    def digest_files(self) -> dict[str, str]:
        """Return the digests of configuration and weights."""
        return digest_folder(self.folder)

    def build_network(self) -> Module:
        from torch import nn

        class ImageSide(nn.Module):
            def __init__(self, both: Any) -> None:
                super().__init__()
                self.both = both

            def forward(self, x: Tensor) -> Tensor:
                return unwrap_features(self.both.get_image_features(pixel_values=x))

        return ImageSide(self.full_model)

    @cached_property
    def tokenizer(self) -> Any:
        declare_missing_ops()
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

    def tokenize(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Tokenize texts as in training, `[k, length]`; for SigLIP, padded to full length."""
        encoding = self.tokenizer(
            list(prompts),
            padding="max_length" if self.model_type == "siglip" else True,
            truncation=True,
            max_length=self.full_model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        return {k: encoding[k] for k in ("input_ids", "attention_mask") if k in encoding}


class ClipEncoder(NetworkEncoder):
    """An encoder of images and text; image features are raw, text features have length 1."""

    checkpoint: ClipCheckpoint

    def __init__(
        self, name: str, checkpoint: ClipCheckpoint, device: str, runtime: str, precision: str
    ) -> None:
        super().__init__(name, checkpoint, device, runtime, precision)
        self._text_lock = threading.Lock()

    def embed_text(self, prompts: Sequence[str]) -> Features:
        """Embed texts in the space of the images, `[k, d]`, each of length 1."""
        self.load()
        import torch

        batches: list[Features] = []
        with self._text_lock, torch.inference_mode():
            model = self.checkpoint.full_model
            for i in range(0, len(prompts), 64):
                tokens = self.checkpoint.tokenize(prompts[i : i + 64])
                tokens = {k: v.to(model.device) for k, v in tokens.items()}
                batches.append(
                    unwrap_features(model.get_text_features(**tokens)).float().cpu().numpy()
                )
        x = np.concatenate(batches) if batches else np.zeros((0, self.space.dim), np.float32)
        return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32)


@contextmanager
def _hide_progress_bar() -> Iterator[None]:
    """Suppress the progress bar of transformers while weights load."""
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def unwrap_features(features: Any) -> Tensor:
    """Return the projected features `[b, d]`, which transformers 5 wraps and 4 does not."""
    pooled: Tensor = getattr(features, "pooler_output", features)
    return pooled


def open_folder(path: str) -> ClipCheckpoint:
    """Open the folder of `clip/local-dir:PATH`."""
    hub.require_package("transformers", "clip")
    return ClipCheckpoint(hub.open_local(path, CHECKPOINT_FILES))


def open_repo(repo: str) -> ClipCheckpoint:
    """Open the repository of `clip/ORG/NAME`."""
    hub.require_package("transformers", "clip")
    return ClipCheckpoint(hub.fetch(repo, CHECKPOINT_FILES))


def open_encoder(name: str, options: EncoderOptions) -> ClipEncoder:
    """Open `clip/ORG/NAME` or `clip/local-dir:PATH`; raises as `open_repo` and `open_folder`."""
    rest = name.partition("/")[2]
    inner, _, path = rest.partition(":")
    checkpoint = open_folder(path) if inner == "local-dir" else open_repo(rest)
    return ClipEncoder(name, checkpoint, options.device, options.runtime, options.precision)
