"""Select the methods that are compared on each encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ilk.core.capabilities import Embeds, EmbedsText, ScoresClasses
from ilk.core.contracts import Method, describe
from ilk.core.errors import InputError
from ilk.core.flattened_images import FlattenedImages
from ilk.core.leaderboard import CandidateResult, Leaderboard
from ilk.detectors import list_detectors
from ilk.discovery import list_discovery_methods
from ilk.fitting.config import FitConfig
from ilk.fitting.usable_methods import check_requested, find_unmet
from ilk.images.pixels import PixelEncoder
from ilk.methods import list_methods, parse
from ilk.methods.description_selection import DescriptionSelection
from ilk.methods.diffusion_classifier import DiffusionClassifier


def resolve_methods(config: FitConfig) -> list[Method]:
    """Return the requested methods, or the default ones.

    Raises:
        UnknownName, InputError: As `parse_methods`.
    """
    if config.methods:
        return parse_methods(config.methods)
    if config.class_structure:
        return [m() for m in list_methods().values() if m.any_embedding_width]
    return _list_default_methods(config)


def parse_methods(texts: Sequence[str]) -> list[Method]:
    """Return the methods that `texts` describe, such as `GDA(shrink=0.2)`.

    Raises:
        UnknownName: There is no such method.
        InputError: A method cannot be parsed, or does not classify images of a folder.
    """
    methods = []
    for text in texts:
        _check_classifies(text.partition("(")[0].strip())
        method = parse(text)
        if reason := _explain_exclusion(method):
            raise InputError(f"{describe(method)} {reason}")
        methods.append(method)
    return methods


def _check_classifies(name: str) -> None:
    """Raise InputError if `name` is a detector or a discovery method."""
    if name in list_detectors():
        raise InputError(
            f"{name} detects anomalies and does not classify; "
            "try: ilk detect fit DIR --out detector"
        )
    if (discovery := list_discovery_methods().get(name)) is None:
        return
    if discovery.needs_labels:
        raise InputError(
            f"{name} also predicts new classes; try: ilk discover MODEL NEW --out groups"
        )
    raise InputError(f"{name} finds classes without labels; use it from Python")


def _list_default_methods(config: FitConfig) -> list[Method]:
    defaults: list[Method] = [
        method_class() for method_class in list_methods().values() if method_class.default_candidate
    ]
    return [*defaults, DescriptionSelection()] if config.descriptions else defaults


def _explain_exclusion(method: Method) -> str:
    """Return why a method cannot be used in a fit, or ""."""
    if has_tag(method, "uses_domains"):
        return "needs several domains, and a folder has only one; use it from Python"
    return ""


def check_methods(
    methods: Sequence[Method],
    config: FitConfig,
    encoders: Sequence[Embeds],
    has_structure: bool = False,
) -> None:
    """Check that descriptions are read, and that each requested method has an encoder.

    Raises:
        InputError: There are descriptions and none of the encoders embeds text, or none serves a
            requested method.
    """
    if config.descriptions and not any(isinstance(e, EmbedsText) for e in encoders):
        raise InputError("descriptions need an encoder that embeds text; add --encoder clip/NAME")
    if config.methods:
        check_requested(methods, encoders, has_structure)


def select_candidates(
    encoder: Embeds,
    methods: Sequence[Method],
    *,
    labels: bool,
    knows_classes: bool = False,
    has_structure: bool = False,
) -> list[Method]:
    """Return the methods that can be used with `encoder`.

    Args:
        encoder: Encoder whose features the methods use.
        methods: Requested or default methods.
        labels: Whether there are labelled images.
        knows_classes: Whether the encoder knows the classes by name.
        has_structure: Whether the distances between classes are given.
    """
    if isinstance(encoder, ScoresClasses):
        return [m for m in methods if has_tag(m, "needs_class_scores")] or [DiffusionClassifier()]
    return [
        _to_flattened(m, encoder)
        for m in methods
        if find_unmet(m, encoder, has_structure) is None
        and (knows_classes or not has_tag(m, "needs_class_model"))
        and (labels or not has_tag(m, "needs_labels"))
    ]


def _to_flattened(method: Method, encoder: Embeds) -> Method:
    """Return a method that takes the rows of `encoder`, which are flattened images."""
    if not (reads_images(method) and isinstance(encoder, PixelEncoder)):
        return method
    return FlattenedImages(method, encoder.channels, encoder.height, encoder.width)


def add_pixel_encoder(methods: Sequence[Method], config: FitConfig) -> FitConfig:
    """Return `config` with the encoder `pixels` if methods need it and no encoder is requested."""
    if config.encoders or not any(map(reads_images, methods)):
        return config
    only_images = all(map(reads_images, methods))
    return replace(config, encoders=("pixels",) if only_images else ("default", "pixels"))


def reads_images(method: Method) -> bool:
    """Return whether a method is fitted to images instead of features."""
    return method.input_kind == "images"  # type: ignore[attr-defined, no-any-return]


def has_tag(method: Method, name: str) -> bool:
    """Return the value of a tag of a method."""
    return bool(getattr(method, name))


def make_zero_shot_leaderboard(candidates: dict[str, list[Method]], n_images: int) -> Leaderboard:
    """Return a leaderboard without scores, won by the first encoder that classifies by names.

    An encoder that embeds text reads any name, and comes before one that knows some.

    Args:
        candidates: Candidate methods by encoder name.
        n_images: Number of unlabelled images.

    Raises:
        InputError: No encoder can classify without labels.
    """
    usable = [(name, methods[0]) for name, methods in candidates.items() if methods]
    usable.sort(key=lambda pair: has_tag(pair[1], "needs_class_model"))
    if not usable:
        raise InputError(
            f"{n_images} images without a label can only be classified by an encoder that knows "
            "the names of their classes (zero-shot); add --encoder efficientnet-lite0 for names of "
            "ImageNet, or --encoder clip/NAME for any"
        )
    results = tuple(
        CandidateResult(name, describe(m), None, 0.0, "not evaluated: no labels")
        for name, m in usable
    )
    note = "there are no labels, so nothing was evaluated"
    return Leaderboard(results, usable[0], 0, note, None, np.full(n_images, -1))
