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

from ilk.diffusion.hub.families import Layout
from ilk.diffusion.hub.parts import library, network, quiet
from ilk.encoders.configs import read_json
from ilk.errors import InputError

LENGTH = 77  # where a tokenizer does not say


class Clip:
    """One CLIP text encoder with its tokenizer.

    Args:
        layout: Where.
        suffix: `""`, or `"_2"` for the second.
        projected: It has a projection, as in Stable Diffusion 3.
        device: Where it runs.
    """

    def __init__(self, layout: Layout, suffix: str, projected: bool, device: str) -> None:
        self.layout, self.device, self.projected = layout, device, projected
        self.encoder, self.tokens = f"text_encoder{suffix}", f"tokenizer{suffix}"
        config = layout.config(self.encoder)
        config = config.get("text_config") or config
        self.width = int(config.get("hidden_size", 512))
        self.pooled = int(config.get("projection_dim", 512)) if projected else 0
        said = read_json(layout.part(self.tokens) / "tokenizer_config.json")
        length = said.get("model_max_length") or LENGTH
        self.length = min(int(length), int(config.get("max_position_embeddings", LENGTH)))

    @cached_property
    def model(self) -> Any:
        kind = "CLIPTextModelWithProjection" if self.projected else "CLIPTextModel"
        return network(self.layout, self.encoder, (kind,), "float32", self.device)

    @cached_property
    def tokenizer(self) -> Any:
        return tokenizer(self.layout, self.tokens)

    def states(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token states `[n, length, width]` and pooled ones `[n, pooled]`, on the CPU.

        With a projection, the states are those before the last layer, as Stable Diffusion 3 takes
        them.
        """
        for prompt in prompts:
            if (used := len(self.tokenizer(prompt).input_ids)) > self.length:
                raise InputError(
                    f"the prompt {prompt!r} has {used} tokens, but the text encoder reads "
                    f"{self.length}; shorten it"
                )
        ids = padded(self.tokenizer, prompts, self.length).to(self.device)
        with torch.no_grad():
            out = self.model(ids, output_hidden_states=self.projected)
        if not self.projected:
            return out.last_hidden_state.float().cpu(), torch.zeros(len(prompts), 0)
        return out.hidden_states[-2].float().cpu(), out.text_embeds.float().cpu()


def tokenizer(layout: Layout, part: str) -> Any:
    """The tokenizer in `part`.

    Raises:
        InputError: Its files make none.
    """
    source, told = library("transformers"), layout.index.get(part) or [None, ""]
    kind = getattr(source, str(told[1]), source.AutoTokenizer)
    try:
        with quiet():
            return kind.from_pretrained(layout.part(part), local_files_only=True)
    except Exception as error:  # as many kinds of it as there are kinds of tokenizers
        why = str(error).strip().splitlines()
        raise InputError(
            f"{layout.part(part)} makes no tokenizer: {why[0] if why else type(error).__name__}"
        ) from error


def padded(cut: Any, prompts: Sequence[str], length: int) -> Tensor:
    """Token numbers `[n, length]`."""
    ids: Tensor = cut(
        list(prompts),
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids
