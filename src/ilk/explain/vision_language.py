"""A sentence about a part of an image by a vision-language model, through transformers.

Models that take a conversation (LLaVA, SmolVLM, Qwen-VL and others) are asked; captioning models
(BLIP and others) continue the beginning of a caption.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image

from ilk.explain.transformers_files import open_network
from ilk.hub.client import RequiredFiles

FILES = RequiredFiles(
    (
        (("config.json",),),
        (("model.safetensors",), ("model.safetensors.index.json",)),
        (("preprocessor_config.json",), ("processor_config.json",)),
        (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"), ("spiece.model",)),
    ),
    optional=(
        "tokenizer_config.json",
        "special_tokens_map.json",
        "generation_config.json",
        "chat_template.jinja",
        "chat_template.json",
        "processor_config.json",
        "preprocessor_config.json",
    ),
)
MAX_TOKENS = 60
QUESTION = (
    "A classifier calls this image {label!r}, mostly because of the part that is shown. "
    "Describe in one or two sentences what that part shows and why it speaks for {label!r}."
)
CAPTION = "a photo of a {label}"


@dataclass(frozen=True, eq=False)
class VisionLanguageModel:
    """Describes images; without sampling, so that the same image gives the same words.

    Attributes:
        network: Built by `AutoModelForImageTextToText` of transformers.
        processor: Its processor.
    """

    network: Any
    processor: Any

    @property
    def takes_conversations(self) -> bool:
        """Whether the model is asked, or continues a caption."""
        return bool(getattr(self.processor, "chat_template", None))

    def describe(self, image: Image.Image, label: str) -> str:
        """Return what the model says of an RGB image that is called `label`; one line."""
        import torch

        inputs = self._prepare(image, label)
        with torch.inference_mode():
            tokens = self.network.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
        prompt = inputs["input_ids"][0]
        out = tokens[0]
        if len(out) >= len(prompt) and self.takes_conversations:
            out = out[len(prompt) :]  # what was asked is repeated
        return " ".join(self.processor.decode(out, skip_special_tokens=True).split())

    def _prepare(self, image: Image.Image, label: str) -> Any:
        if not self.takes_conversations:
            text = CAPTION.format(label=label)
            return self.processor(images=image, text=text, return_tensors="pt")
        content = [{"type": "image"}, {"type": "text", "text": QUESTION.format(label=label)}]
        prompt = self.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        return self.processor(images=image, text=prompt, return_tensors="pt")


@lru_cache(maxsize=1)
def open_vision_language(name: str) -> VisionLanguageModel:
    """Open a model from a folder or a hub repository.

    Raises:
        Unavailable: transformers or a file is missing.
        InputError: Its files hold no model from image and text to text.
    """
    return VisionLanguageModel(*open_network(name, FILES, "AutoModelForImageTextToText"))
