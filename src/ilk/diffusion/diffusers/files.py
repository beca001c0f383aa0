"""File names of a checkpoint: single file, shards, or a half-precision variant."""

from __future__ import annotations

from pathlib import Path

from ilk.core.errors import InputError, Unavailable
from ilk.hub.configs import read_json

CONFIG = "config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)


def get_weights_stem(part: str) -> str:
    """Return the stem of the weight files of a part; transformers and diffusers differ."""
    return "model" if part.startswith("text_encoder") else "diffusion_pytorch_model"


def find_weights(folder: Path, part: str) -> tuple[str | None, list[Path]]:
    """Find the weight files of a part.

    Returns:
        The variant (None for the default one) and the files, including shards and their index.

    Raises:
        Unavailable: There are no weights in safetensors format.
        InputError: The index of the shards lists no file.
    """
    name = get_weights_stem(part)
    for variant, dot, infix in ((None, "", ""), ("fp16", ".fp16", ".fp16")):
        if (single_file := folder / f"{name}{dot}.safetensors").is_file():
            return variant, [single_file]
        if (index := folder / f"{name}.safetensors.index{infix}.json").is_file():
            weight_map = read_json(index).get("weight_map")
            if not isinstance(weight_map, dict) or not weight_map:
                raise InputError(f"{index} lists no files; download it again")
            return variant, [index, *(folder / f for f in sorted(set(weight_map.values())))]
    pickled = [f.name for f in (*folder.glob("*.bin"), *folder.glob("*.ckpt"))]
    if pickled:
        raise Unavailable(
            f"{folder} stores its weights in {pickled[0]}, a pickle, which can run arbitrary code "
            f"and is not read; download {name}.safetensors"
        )
    hint = ""
    if part == "text_encoder_3":
        hint = ", or set it to [null, null] in model_index.json to omit it"
    raise Unavailable(f"{folder} lacks {name}.safetensors; add it{hint}")


def list_network_files(part: str, in_root: bool) -> tuple[tuple[str, ...], ...]:
    """Return the alternative file sets of a network, in the root folder too if `in_root`."""
    names = [f"{get_weights_stem(part)}{end}" for end in (
        ".safetensors", ".safetensors.index.json", ".fp16.safetensors",
        ".safetensors.index.fp16.json",
    )]  # fmt: skip
    folders = [f"{part}/", ""] if in_root else [f"{part}/"]
    return tuple((folder + CONFIG, folder + name) for folder in folders for name in names)


def list_tokenizer_files(part: str) -> tuple[tuple[str, ...], ...]:
    """Return the alternative file sets of a tokenizer; T5's format is newer than CLIP's."""
    forms = [("vocab.json", "merges.txt"), ("tokenizer.json",), ("spiece.model",)]
    forms = forms[1:] + forms[:1] if part.endswith("3") else forms
    return tuple(tuple(f"{part}/{f}" for f in (*form, "tokenizer_config.json")) for form in forms)
