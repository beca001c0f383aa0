"""Resolve the encoders of a fit and load their features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ilk.core.capabilities import Embeds, EmbedsText, NamesClasses, ScoresClasses
from ilk.core.data import Data, Features
from ilk.core.errors import InputError, UnknownName
from ilk.core.progress import Progress
from ilk.diffusion.classification.context import ClassificationContext
from ilk.encode import encode_and_refuse
from ilk.encoders import choose_encoders, resolve_encoder
from ilk.fitting.class_names import make_class_model
from ilk.fitting.class_structure import ClassStructure
from ilk.fitting.config import FitConfig
from ilk.fitting.split import Split
from ilk.fitting.variants import apply_settings
from ilk.hub import client as hub
from ilk.images import Images, number_row_groups, verify_images
from ilk.store import Store

LogCallback = Callable[[str], None]
CLASSIFIER_PREFIX = "diffusion-classifier"


def add_classifier_classes(images: Images, config: FitConfig, store: Store) -> FitConfig:
    """Add the classes of the first classifier to `config` if there are no others."""
    if config.classes or images.classes or not config.classifiers:
        return config
    context = ClassificationContext(None, config.prompts, store)
    name = _to_encoder_name(config.classifiers[0])
    encoder = _resolve_encoder(name, images, config, context)
    return (
        replace(config, classes=encoder.classes) if isinstance(encoder, ScoresClasses) else config
    )


def refuse_undecodable(
    images: Images, config: FitConfig, store: Store, progress: Progress
) -> Images:
    """Refuse images that cannot be decoded, if the classes must be known before encoding.

    The scores of a diffusion classifier depend on the classes, and a class exists only if at least
    one of its files can be decoded. For other encoders, `encode` refuses such files.
    """
    if not (config.classifiers or any(e.startswith(CLASSIFIER_PREFIX) for e in config.encoders)):
        return images
    return verify_images(images, store=store, progress=progress)


def resolve_encoders(
    images: Images, config: FitConfig, context: ClassificationContext, log: LogCallback
) -> list[Embeds]:
    """Return the encoders of `config`, without duplicates.

    Args:
        images: Images from which `pixels` chooses its size.
        config: Names of encoders and classifiers.
        context: Classes and prompts of diffusion classifiers.
        log: Called with a message if default encoders are chosen, and with what is downloaded.

    Raises:
        UnknownName: There is no such encoder or classifier.
        InputError: An encoder cannot be used.
        Unavailable: An encoder is not available on this machine.
    """
    encoders: list[Embeds] = []
    with hub.apply_policy(hub.DownloadPolicy(log=log)):
        for name in dict.fromkeys(config.encoders or ("default",)):
            if name == "default":
                defaults, message = choose_encoders(
                    images, device=config.device, runtime=config.runtime, precision=config.precision
                )
                log(message)
                encoders += defaults
            else:
                encoders.append(_resolve_encoder(name, images, config, context))
        for name in map(_to_encoder_name, dict.fromkeys(config.classifiers)):
            encoders.append(_resolve_encoder(name, images, config, context))
    if exact := _list_exact(encoders, config.precision):
        verb = "compute" if len(exact) > 1 else "computes"
        log(
            f"{' and '.join(exact)} {verb} in float32, so --precision {config.precision} changes "
            "nothing there"
        )
    encoders = apply_settings(encoders, config.resize, config.views, log)
    return list({encoder.name: encoder for encoder in encoders}.values())


def _list_exact(encoders: list[Embeds], precision: str) -> list[str]:
    """Return the names of encoders that compute in float32 although `precision` is another."""
    if precision == "float32":
        return []
    return [e.name for e in encoders if e.describe().get("precision", "float32") != precision]


def encode(
    images: Images, encoders: list[Embeds], store: Store, progress: Progress, log: LogCallback
) -> Images:
    """Encode all images; refuse those that cannot be decoded, and pictures that appear twice."""
    return encode_and_refuse(images, encoders, store, progress=progress, log=log)


def load_features(
    encoder: Embeds,
    split: Split,
    config: FitConfig,
    store: Store,
    structure: ClassStructure | None = None,
) -> Data:
    """Return the features of the training images, followed by those of the unlabelled images.

    Raises:
        InputError: The scores of a diffusion classifier are for other classes than `split`.
    """
    if isinstance(encoder, ScoresClasses) and encoder.classes != split.classes:
        raise InputError("the image files changed while they were encoded; run the command again")
    rows = split.train + split.unlabelled
    data = Data(
        store.get(encoder.space, [row.digest for row in rows]),
        split.encode_labels(rows),
        split.classes,
        group=number_row_groups(rows),
        class_distances=None if structure is None else structure.select(split.classes),
    )
    if isinstance(encoder, NamesClasses):
        data = replace(data, class_model=make_class_model(encoder, split.classes))
    if not isinstance(encoder, EmbedsText):
        return data
    return replace(
        data,
        class_embeddings=_embed_classes(encoder, split, config),
        description_embeddings=(
            encoder.embed_text(config.descriptions) if config.descriptions else None
        ),
    )


def _to_encoder_name(classifier: str) -> str:
    """Return the encoder that computes the scores of `--classifier diffusion:PATH`."""
    family, separator, rest = classifier.partition(":")
    if family != "diffusion" or not rest:
        raise UnknownName("classifier", classifier, ("diffusion:PATH",))
    return f"{CLASSIFIER_PREFIX}{separator}{rest}"


def _resolve_encoder(
    name: str, images: Images, config: FitConfig, context: ClassificationContext
) -> Embeds:
    return resolve_encoder(
        name,
        images=images,
        device=config.device,
        runtime=config.runtime,
        precision=config.precision,
        context=context,
    )


def _embed_classes(encoder: EmbedsText, split: Split, config: FitConfig) -> Features:
    """Return the normalized mean text embedding over all prompts of each class, `[k, h]`."""
    prompt_embeddings = [
        encoder.embed_text([prompt.format(name) for name in split.classes])
        for prompt in config.prompts
    ]
    mean = np.mean(prompt_embeddings, axis=0)
    unit = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return np.asarray(unit, np.float32)
