"""Tiny networks with random weights, saved as the libraries save theirs, for tests of encoders."""

from __future__ import annotations

import shutil
from pathlib import Path

from ilk.hub.torchvision_ops import declare_missing_ops

WORDS = ["a", "photo", "of", "cat", "dog", "the", "red", "blue", "owl"]
SIDE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2}


def save_timm(folder: Path, architecture: str = "test_efficientnet", classes: int = 1000) -> Path:
    """A timm network with random weights."""
    declare_missing_ops()
    import timm
    import torch
    from timm.models import save_for_hf

    torch.manual_seed(0)
    network = timm.create_model(architecture, pretrained=False, num_classes=classes)
    save_for_hf(network, str(folder), safe_serialization=True)
    return folder


def save_clip(folder: Path, kind: str) -> Path:
    """A CLIP or SigLIP network, its image processor and a tokenizer of a few words."""
    declare_missing_ops()
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import (
        CLIPConfig,
        CLIPModel,
        PreTrainedTokenizerFast,
        SiglipConfig,
        SiglipModel,
    )

    torch.manual_seed(0)
    vision = {**SIDE, **HEADS, "image_size": 32, "patch_size": 8}
    text = {**SIDE, **HEADS, "vocab_size": 64, "max_position_embeddings": 16}
    text |= {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    if kind == "clip":
        config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=24)
        model, form = CLIPModel(config), "<s> $A </s>"
    else:
        model, form = SiglipModel(SiglipConfig(vision_config=vision, text_config=text)), "$A </s>"
    model.save_pretrained(folder)
    image_processor(kind)(**sizes(kind)).save_pretrained(folder)

    vocabulary = {w: i for i, w in enumerate(["<pad>", "</s>", "<s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=form, special_tokens=[("<s>", 2), ("</s>", 1)]
    )
    inputs = ["input_ids", "attention_mask"] if kind == "clip" else ["input_ids"]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=16,
        model_input_names=inputs,
    ).save_pretrained(folder)
    return folder


def image_processor(kind: str) -> type:
    """The Pillow-backed image processor of transformers."""
    declare_missing_ops()
    from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

    return CLIPImageProcessorPil if kind == "clip" else SiglipImageProcessorPil


def sizes(kind: str) -> dict[str, dict[str, int]]:
    """What the tiny network's image processor is told."""
    square = {"height": 32, "width": 32}
    if kind == "clip":
        return {"size": {"shortest_edge": 32}, "crop_size": square}
    return {"size": square}


def into_cache(folder: Path, cache: Path, repo: str, revision: str = "main") -> Path:
    """Lay the files of `folder` out as the hub client does in its cache; the snapshot's folder."""
    home = cache / ("models--" + repo.replace("/", "--"))
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = home / "snapshots" / commit
    shutil.copytree(folder, snapshot)
    (home / "refs").mkdir(exist_ok=True)
    (home / "refs" / revision).write_text(commit)
    return snapshot
