"""Learned prompts of CLIP: they start at the words, and only they are learned."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.tiny_checkpoints import WORDS, save_clip
from ilk.core.errors import InputError

pytest.importorskip("transformers")

from ilk.encoders.clip import ClipEncoder, open_encoder
from ilk.encoders.clip_prompts import make_prompted_text
from ilk.encoders.options import EncoderOptions
from ilk.training.class_embeddings import embed_classes, tune_classes
from ilk.training.recipe import Recipe

NAMES = tuple(WORDS[-3:])
PROMPT = f"{WORDS[0]} {WORDS[1]} {{}}"


def open_tiny(folder: Path, kind: str) -> ClipEncoder:
    return open_encoder(f"clip/local-dir:{save_clip(folder / kind, kind)}", EncoderOptions())


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_prompt_starts_as_its_words_and_learns_alone(tmp_path: Path, kind: str) -> None:
    encoder = open_tiny(tmp_path, kind)
    prompt = make_prompted_text(encoder, NAMES, PROMPT)
    assert prompt.context.shape[1] == 2
    zero_shot = encoder.embed_text([PROMPT.format(name) for name in NAMES])
    assert np.allclose(embed_classes(prompt), zero_shot, atol=1e-5)

    before = copy.deepcopy(encoder.checkpoint.full_model.state_dict())
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    directions = rng.normal(size=(3, zero_shot.shape[1]))
    rows = directions[y] + 0.1 * rng.normal(size=(60, zero_shot.shape[1]))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def measure(classes: np.ndarray) -> float:
        logits = torch.from_numpy(20 * rows @ classes.T)
        return float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(y)))

    recipe = Recipe(30, 60, lr=0.02, warmup=0, ema_width=0.0)
    tuned = tune_classes(prompt, rows, y, recipe, scale=20)
    classes = embed_classes(tuned)
    assert measure(classes) < measure(zero_shot) - 0.05
    assert np.allclose(np.linalg.norm(classes, axis=1), 1, atol=1e-5)
    after = encoder.checkpoint.full_model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not encoder.checkpoint.full_model.training
    assert np.allclose(
        encoder.embed_text([PROMPT.format(n) for n in NAMES]), zero_shot, atol=1e-6
    )  # nothing hangs on in the encoder


def test_what_has_no_words_to_learn_is_refused(tmp_path: Path) -> None:
    encoder = open_tiny(tmp_path, "clip")
    for names, prompt in ((NAMES, "{}"), (NAMES, WORDS[0]), (NAMES[:1], PROMPT)):
        with pytest.raises(InputError):
            make_prompted_text(encoder, names, prompt)
