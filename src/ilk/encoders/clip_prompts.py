"""Prompts of CLIP and SigLIP whose words are learned; see `PromptedText`.

encoder = open_encoder("clip/local-dir:PATH", EncoderOptions())
prompt = make_prompted_text(encoder, ("cat", "dog"), "a photo of a {}")
tuned = tune_classes(prompt, unit_features, y, Recipe(200, lr=2e-3))
data = replace(data, class_embeddings=embed_classes(tuned))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ilk.core.errors import InputError
from ilk.encoders.clip import ClipEncoder, unwrap_features

if TYPE_CHECKING:
    from ilk.architectures.cosine_classifier import PromptedText

EMBEDDING = "both.text_model.embeddings.token_embedding"


def make_prompted_text(
    encoder: ClipEncoder, classes: Sequence[str], prompt: str = "a photo of a {}"
) -> PromptedText:
    """Return the text side of an encoder with a prompt to be learned, which starts at `prompt`.

    What is learned are the words of the prompt before the class name: as many as it has, where the
    paper of CoOp learns 16.

    Args:
        encoder: The encoder, whose weights are shared and stay as they are.
        classes: Names, at least 2 different ones.
        prompt: Text with `{}` for the class name, and a word before it.

    Raises:
        InputError: The prompt has no word before the name, or fewer than 2 classes differ.
    """
    encoder.load()
    import torch
    from torch import nn

    from ilk.architectures.cosine_classifier import PromptedText

    if len(set(classes)) < 2 or "{}" not in prompt:
        raise InputError(
            f"a prompt with {{}} for the name and 2 classes are needed; got {prompt!r} and "
            f"{len(set(classes))}"
        )

    class TextSide(nn.Module):
        def __init__(self, both: Any) -> None:
            super().__init__()
            self.both = both

        def forward(self, **tokens: torch.Tensor) -> torch.Tensor:
            return unwrap_features(self.both.get_text_features(**tokens))

    checkpoint = encoder.checkpoint
    model = checkpoint.full_model
    tokens = {
        name: values.to(model.device)
        for name, values in checkpoint.tokenize([prompt.format(c) for c in classes]).items()
    }
    ids = tokens["input_ids"]
    start = int(ids[0, 0] == model.config.text_config.bos_token_id)  # SigLIP's has no first mark
    is_shared = (ids == ids[:1]).all(0).long()
    stop = int(is_shared.cumprod(0).sum())
    if stop <= start:
        raise InputError(
            f"the prompt {prompt!r} has no word before the name; "
            "write one, such as 'a photo of {}'"
        )
    return PromptedText(TextSide(model), EMBEDDING, tokens, start, stop - start)
