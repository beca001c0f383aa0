"""Tiny diffusion pipelines with random weights, saved as the diffusers library saves its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ilk.hub.torchvision_ops import declare_missing_ops

WORDS = ["a", "photo", "of", "cat", "dog", "owl", "the", "red", "big", "blurry", ".", "sketch"]
DIGITS = [str(i) for i in range(10)]
LENGTH = 77
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def library() -> Any:
    """The diffusers library, importable beside a torchvision built for another torch."""
    declare_missing_ops()
    import diffusers
    import torch

    torch.manual_seed(0)
    return diffusers


def unet(folder: Path, classes: int | None = None, **options: Any) -> Path:
    """A pixel U-Net in the layout of DDPMPipeline."""
    d = library()
    schedule = options.pop("schedule", {})
    network = d.UNet2DModel(
        **{
            "sample_size": 8,
            "in_channels": 1,
            "out_channels": 1,
            "block_out_channels": (8, 16),
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
            "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "attention_head_dim": 8,
            "num_class_embeds": classes,
            **options,
        }
    )
    d.DDPMPipeline(network, d.DDPMScheduler(**schedule)).save_pretrained(folder)
    return folder


def vae(channels: int = 4, **options: Any) -> Any:
    """Halves the side once; its posterior has a spread, so that mean and sample differ."""
    return library().AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8),
        latent_channels=channels,
        norm_num_groups=4,
        layers_per_block=1,
        **options,
    )


def dit(folder: Path, names: dict[int, str] | None = None, sigma: bool = True) -> Path:
    """A DiT of 3 classes in 4 x 8 x 8 latents, by default with a learned variance."""
    d = library()
    latents = vae()
    network = d.DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8 if sigma else 4,
        num_layers=2,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=3,
        norm_num_groups=4,
    )
    scheduler = d.DDIMScheduler()
    d.DiTPipeline(network, latents, scheduler).save_pretrained(folder)
    if names:  # the library reads them from there, yet does not write them
        index = folder / "model_index.json"
        told = json.loads(index.read_text())
        index.write_text(json.dumps({**told, "id2label": {str(i): n for i, n in names.items()}}))
    return folder


def tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer of a few words and all ASCII letters, from the files of the older form."""
    from transformers import CLIPTokenizer

    letters = [chr(i) for i in range(33, 127)]
    pairs = sorted(
        {(w[:i], w[i]) for w in WORDS for i in range(1, len(w))}, key=lambda p: len(p[0])
    )
    merges = [(a, b + "</w>" if a + b in WORDS else b) for a, b in pairs]
    tokens = [*letters, *(c + "</w>" for c in letters), *(a + b for a, b in merges)]
    vocabulary = {t: i for i, t in enumerate(dict.fromkeys(tokens))}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=LENGTH
    )


def text_config(size: int, **options: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        **{
            "vocab_size": 512,
            "hidden_size": size,
            "intermediate_size": 2 * size,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": LENGTH,
            "bos_token_id": 0,
            "eos_token_id": 2,  # as in the old checkpoints: stands for "the highest id"
            **options,
        }
    )


def stable(folder: Path, schedule: dict[str, Any] | None = None, **options: Any) -> Path:
    """A Stable Diffusion 1 or 2 pipeline in 4 x 4 x 4 latents of 8 x 8 pictures."""
    d = library()
    from transformers import CLIPTextModel

    network = d.UNet2DConditionModel(
        **{
            "sample_size": 4,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "cross_attention_dim": 8,
            "attention_head_dim": 2,
            "norm_num_groups": 4,
            **options,
        }
    )
    d.StableDiffusionPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config(8)),
        tokenizer=tokenizer(folder / "tokenizer"),
        unet=network,
        scheduler=d.PNDMScheduler(**BETAS, skip_prk_steps=True, steps_offset=1, **(schedule or {})),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def stable3(folder: Path, t5: bool = False) -> Path:
    """A Stable Diffusion 3 pipeline in 16 x 4 x 4 latents, with or without its third encoder."""
    d = library()
    from transformers import CLIPTextModelWithProjection

    network = d.SD3Transformer2DModel(
        sample_size=4,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=24,
        pooled_projection_dim=20,
        pos_embed_max_size=8,
    )
    third = _t5(folder) if t5 else (None, None)
    d.StableDiffusion3Pipeline(
        transformer=network,
        scheduler=d.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False,
                use_post_quant_conv=False),
        text_encoder=CLIPTextModelWithProjection(text_config(8, projection_dim=8)),
        tokenizer=tokenizer(folder / "tokenizer"),
        text_encoder_2=CLIPTextModelWithProjection(text_config(12, projection_dim=12)),
        tokenizer_2=tokenizer(folder / "tokenizer_2"),
        text_encoder_3=third[0],
        tokenizer_3=third[1],
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _t5(folder: Path) -> tuple[Any, Any]:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import T5Config, T5EncoderModel, T5TokenizerFast

    config = T5Config(
        vocab_size=64, d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
        is_encoder_decoder=False, use_cache=False,
    )  # fmt: skip
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *((f"▁{w}", -2.0) for w in WORDS)]
    inner = Tokenizer(models.Unigram([*pieces, *((c, -4.0) for c in "▁abcdegorstw.")], unk_id=2))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return T5EncoderModel(config), T5TokenizerFast(tokenizer_object=inner, extra_ids=0)
