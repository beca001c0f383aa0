"""How the files of a checkpoint are called: whole, in shards, or in a variant of half precision."""

from __future__ import annotations

from pathlib import Path

from ilk.encoders.configs import read_json
from ilk.errors import InputError, Unavailable

CONFIG = "config.json"
TOKENS = ("tokenizer.json", "vocab.json", "merges.txt", "spiece.model", "tokenizer_config.json",
          "special_tokens_map.json", "added_tokens.json")  # fmt: skip


def stem(part: str) -> str:
    """How the weights of a part are called: transformers and diffusers differ."""
    return "model" if part.startswith("text_encoder") else "diffusion_pytorch_model"


def weights(folder: Path, part: str) -> tuple[str | None, list[Path]]:
    """The variant of a part's weights (None: plain) and its files, shards and their index included.

    Raises:
        Unavailable: There are none in safetensors.
    """
    name = stem(part)
    for variant, dot, infix in ((None, "", ""), ("fp16", ".fp16", ".fp16")):
        if (whole := folder / f"{name}{dot}.safetensors").is_file():
            return variant, [whole]
        if (index := folder / f"{name}.safetensors.index{infix}.json").is_file():
            named = read_json(index).get("weight_map")
            if not isinstance(named, dict) or not named:
                raise InputError(f"{index} names no files; fetch it again")
            return variant, [index, *(folder / f for f in sorted(set(named.values())))]
    pickled = [f.name for f in (*folder.glob("*.bin"), *folder.glob("*.ckpt"))]
    if pickled:
        raise Unavailable(
            f"{folder} holds its weights as {pickled[0]}, a pickle, which can run any code and is "
            f"not read; fetch {name}.safetensors"
        )
    without = ""
    if part == "text_encoder_3":
        without = ", or write [null, null] for it in model_index.json to do without"
    raise Unavailable(f"{folder} lacks {name}.safetensors; put it there{without}")


def network(part: str, root: bool) -> tuple[tuple[str, ...], ...]:
    """The forms that a part with weights comes in, in the main folder too if `root`."""
    names = [f"{stem(part)}{end}" for end in (
        ".safetensors", ".safetensors.index.json", ".fp16.safetensors",
        ".safetensors.index.fp16.json",
    )]  # fmt: skip
    homes = [f"{part}/", ""] if root else [f"{part}/"]
    return tuple((home + CONFIG, home + name) for home in homes for name in names)


def tokenizer(part: str) -> tuple[tuple[str, ...], ...]:
    """The forms that a tokenizer comes in: T5's is newer than CLIP's."""
    forms = [("vocab.json", "merges.txt"), ("tokenizer.json",), ("spiece.model",)]
    forms = forms[1:] + forms[:1] if part.endswith("3") else forms
    return tuple(tuple(f"{part}/{f}" for f in (*form, "tokenizer_config.json")) for form in forms)
