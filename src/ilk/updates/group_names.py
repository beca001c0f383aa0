"""Suggest a name for each group of new images, from an encoder that knows words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ilk.core.capabilities import Embeds, EmbedsText, NamesClasses
from ilk.core.contracts import Model
from ilk.core.data import Labels
from ilk.core.errors import IlkError
from ilk.core.linear_models import NormalizedLinear
from ilk.core.metrics import softmax
from ilk.core.progress import Progress, silent_progress
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.images import Images
from ilk.store import Store
from ilk.vocabulary.group_names import NameSuggestion, suggest_name
from ilk.vocabulary.wordnet import load_vocabulary

NAMING_ENCODER = "efficientnet-lite0"  # where the classifier's own encoder knows no words
PROMPT = "a photo of a {}."
TEXT_SCALE = 100.0  # inverse temperature of cosines, as of CLIP


def find_naming_part(encoder: Embeds) -> Embeds | None:
    """Return the encoder, or the first of its parts, that knows words; None if there is none."""
    parts: Sequence[Embeds] = getattr(encoder, "parts", ()) or (encoder,)
    return next((part for part in parts if isinstance(part, NamesClasses | EmbedsText)), None)


def make_name_head(encoder: Embeds) -> Model:
    """Return a model that maps features of `encoder` to logits of ImageNet's classes, `[n, 1000]`.

    Where the encoder has no such classifier, its text embeddings of the classes' words are one.

    Raises:
        ValueError: The encoder knows no words.
    """
    if isinstance(encoder, NamesClasses):
        return encoder.load_name_head()
    if not isinstance(encoder, EmbedsText):
        raise ValueError(f"{encoder.name} knows no words")
    vocabulary = load_vocabulary()
    prompts = [PROMPT.format(vocabulary.format_name(i)) for i in vocabulary.class_ids]
    weight = np.asarray(TEXT_SCALE * encoder.embed_text(prompts), np.float32)
    return NormalizedLinear(weight, np.zeros(len(weight), np.float32))


def suggest_group_names(
    encoder: Embeds,
    images: Images,
    group_ids: Labels,
    known_names: Sequence[str],
    store: Store,
    progress: Progress = silent_progress,
) -> tuple[dict[int, NameSuggestion], str]:
    """Suggest a name for each group of images.

    Where `encoder` knows no words, the images in groups are encoded once more, with
    `NAMING_ENCODER`.

    Args:
        encoder: Encoder of the classifier.
        images: The images; `n` of them are used.
        group_ids: Group of each used image, `[n]`, from 1; 0 for none.
        known_names: Names of the known classes, which are not suggested.
        store: Feature store.
        progress: Receives the progress of encoding.

    Returns:
        Names by group, without groups whose images no name covers, and the name of the encoder that
        knew them; "" where there was none.
    """
    grouped = np.flatnonzero(group_ids > 0)
    part = find_naming_part(encoder) or _open_naming_encoder()
    if part is None or not len(grouped):
        return {}, ""
    rows = tuple(images.used[i] for i in grouped)
    if encode_images(replace(images, rows=rows), [part], store, progress=progress):
        return {}, ""  # a file was changed or removed since it was grouped
    x = store.get(part.space, [row.digest for row in rows])
    probabilities = softmax(make_name_head(part).logits(x), axis=1)
    suggestions = {
        group: suggest_name(probabilities[group_ids[grouped] == group], known_names)
        for group in np.unique(group_ids[grouped]).tolist()
    }
    return {group: name for group, name in suggestions.items() if name}, part.name


def _open_naming_encoder() -> Embeds | None:
    try:
        return resolve_encoder(NAMING_ENCODER)
    except IlkError:
        return None
