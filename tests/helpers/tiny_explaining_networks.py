"""Tiny networks with random weights that explanations use, saved in the hub's format."""

from __future__ import annotations

from pathlib import Path

from ilk.hub.torchvision_ops import declare_missing_ops

SIDE = {"hidden_size": 16, "intermediate_size": 24}
DEPTH = {"num_hidden_layers": 2, "num_attention_heads": 2}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "a", "photo", "of", "red"]


def save_sam(folder: Path) -> Path:
    """Segment Anything for images of 32 pixels."""
    declare_missing_ops()
    import torch
    from transformers import SamConfig, SamImageProcessorPil, SamModel, SamProcessor

    torch.manual_seed(0)
    vision = {
        **DEPTH, "hidden_size": 16, "image_size": 32, "patch_size": 8, "output_channels": 16,
        "global_attn_indexes": [1], "window_size": 2, "mlp_dim": 24, "num_pos_feats": 8,
    }  # fmt: skip
    prompt = {"hidden_size": 16, "image_size": 32, "patch_size": 8, "mask_input_channels": 4}
    decoder = {
        **DEPTH, "hidden_size": 16, "mlp_dim": 24, "attention_downsample_rate": 2,
        "iou_head_hidden_dim": 16, "iou_head_depth": 2,
    }  # fmt: skip
    config = SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )
    SamModel(config).save_pretrained(folder)
    images = SamImageProcessorPil(
        size={"longest_edge": 32},
        pad_size={"height": 32, "width": 32},
        mask_size={"longest_edge": 8},
        mask_pad_size={"height": 8, "width": 8},
    )
    SamProcessor(images).save_pretrained(folder)
    return folder


def save_blip(folder: Path) -> Path:
    """A captioning network and a tokenizer of a few words."""
    declare_missing_ops()
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import (
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessorPil,
        BlipProcessor,
        PreTrainedTokenizerFast,
    )

    torch.manual_seed(0)
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    text = {
        **SIDE, **DEPTH, "vocab_size": len(WORDS), "max_position_embeddings": 128,
        "encoder_hidden_size": 16, "bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3,
        "pad_token_id": 0,
    }  # fmt: skip
    vision = {**SIDE, **DEPTH, "image_size": 32, "patch_size": 8}
    config = BlipConfig(vision_config=vision, text_config=text, projection_dim=16)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        bos_token="[DEC]",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=128,
    )
    images = BlipImageProcessorPil(size={"height": 32, "width": 32})
    BlipProcessor(images, fast).save_pretrained(folder)
    return folder
