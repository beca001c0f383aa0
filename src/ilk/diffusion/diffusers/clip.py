"""A CLIP text encoder of a pipeline with its tokenizer.

Alec Radford and others, 2021, Learning Transferable Visual Models From Natural Language
Supervision, arXiv 2103.00020.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.diffusers.families import CheckpointLayout
from ilk.diffusion.diffusers.parts import import_library, load_network, silence_libraries
from ilk.hub.configs import read_json

DEFAULT_LENGTH = 77  # tokens, unless the tokenizer states it


class CLIPTextEncoder:
    """One CLIP text encoder with its tokenizer.

    Args:
        layout: The checkpoint.
        suffix: `""`, or `"_2"` for the second encoder.
        has_projection: Whether it has a projection, as in Stable Diffusion 3.
        device: Device on which it runs.
    """

    def __init__(
        self, layout: CheckpointLayout, suffix: str, has_projection: bool, device: str
    ) -> None:
        self.layout, self.device, self.has_projection = layout, device, has_projection
        self.encoder_part, self.tokenizer_part = f"text_encoder{suffix}", f"tokenizer{suffix}"
        config = layout.read_config(self.encoder_part)
        config = config.get("text_config") or config
        self.width = int(config.get("hidden_size", 512))
        self.pooled_width = int(config.get("projection_dim", 512)) if has_projection else 0
        tokenizer_config = read_json(
            layout.get_folder(self.tokenizer_part) / "tokenizer_config.json"
        )
        length = tokenizer_config.get("model_max_length") or DEFAULT_LENGTH
        self.length = min(int(length), int(config.get("max_position_embeddings", DEFAULT_LENGTH)))

    @cached_property
    def model(self) -> Any:
        kind = "CLIPTextModelWithProjection" if self.has_projection else "CLIPTextModel"
        return load_network(self.layout, self.encoder_part, (kind,), "float32", self.device)

    @cached_property
    def tokenizer(self) -> Any:
        return load_tokenizer(self.layout, self.tokenizer_part)

    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return token states `[n, length, width]` and pooled states `[n, pooled]`, on the CPU.

        With a projection, the states are those before the last layer, as in Stable Diffusion 3.

        Raises:
            InputError: A prompt is longer than the text encoder reads.
        """
        for prompt in prompts:
            if (n_tokens := len(self.tokenizer(prompt).input_ids)) > self.length:
                raise InputError(
                    f"the prompt {prompt!r} has {n_tokens} tokens, but the text encoder reads "
                    f"{self.length}; shorten it"
                )
        ids = tokenize(self.tokenizer, prompts, self.length).to(self.device)
        with torch.no_grad():
            out = self.model(ids, output_hidden_states=self.has_projection)
        if not self.has_projection:
            return out.last_hidden_state.float().cpu(), torch.zeros(len(prompts), 0)
        return out.hidden_states[-2].float().cpu(), out.text_embeds.float().cpu()


def load_tokenizer(layout: CheckpointLayout, part: str) -> Any:
    """Load the tokenizer in `part`.

    Raises:
        InputError: The files do not form a tokenizer.
    """
    package, class_entry = import_library("transformers"), layout.index.get(part) or [None, ""]
    tokenizer_class = getattr(package, str(class_entry[1]), package.AutoTokenizer)
    try:
        with silence_libraries():
            return tokenizer_class.from_pretrained(layout.get_folder(part), local_files_only=True)
    except Exception as error:  # each tokenizer raises its own types
        message = str(error).strip().splitlines()
        raise InputError(
            f"{layout.get_folder(part)} cannot be loaded as a tokenizer: "
            f"{message[0] if message else type(error).__name__}"
        ) from error


def tokenize(tokenizer: Any, prompts: Sequence[str], length: int) -> Tensor:
    """Return the token ids `[n, length]` of the prompts, padded."""
    ids: Tensor = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids
