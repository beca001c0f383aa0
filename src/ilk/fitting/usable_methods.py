"""Whether an encoder serves a method and, if not, why and what to do: one rule for both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ilk.core.capabilities import Embeds, EmbedsText, NamesClasses, ScoresClasses
from ilk.core.contracts import Method, describe
from ilk.core.errors import InputError
from ilk.images.pixels import PixelEncoder


@dataclass(frozen=True)
class Requirement:
    """What some methods need of an encoder.

    Attributes:
        concerns: Whether a method has it.
        is_met: Whether an encoder meets it.
        sentence: What to say where no encoder does, with what to do; it follows the method.
    """

    concerns: Callable[[Any], bool]
    is_met: Callable[[Embeds], bool]
    sentence: str


TEXT = Requirement(
    lambda method: method.needs_class_embeddings,
    lambda encoder: isinstance(encoder, EmbedsText),
    "compares images with text, and none of the encoders embeds text; add --encoder clip/ORG/NAME",
)
REQUIREMENTS = (
    Requirement(
        lambda method: method.needs_class_scores,
        lambda encoder: isinstance(encoder, ScoresClasses),
        "compares the errors of a diffusion network under each class, and no network is named; "
        "name it with --classifier diffusion:PATH (in Python: classifiers='diffusion:PATH')",
    ),
    Requirement(
        lambda method: method.input_kind == "images",
        lambda encoder: isinstance(encoder, PixelEncoder),
        "is fitted to images, and none of the encoders returns pixels; add --encoder pixels",
    ),
    TEXT,
    Requirement(
        lambda method: method.needs_class_model,
        lambda encoder: isinstance(encoder, NamesClasses),
        "needs an encoder that knows classes by name; add --encoder efficientnet-lite0",
    ),
    Requirement(
        lambda method: not method.needs_class_scores,
        lambda encoder: not isinstance(encoder, ScoresClasses),
        "is fitted to features, and a diffusion classifier gives one score per class instead; add "
        "--encoder default, or leave --method out",
    ),
)


def find_unmet(method: Any, encoder: Embeds, has_structure: bool = False) -> Requirement | None:
    """Return the first requirement of `method` that `encoder` does not meet; None if it fits.

    With the distances between classes (`has_structure`), a method that reads embeddings of any
    width needs no text.
    """
    for requirement in REQUIREMENTS:
        if requirement is TEXT and has_structure and method.any_embedding_width:
            continue
        if requirement.concerns(method) and not requirement.is_met(encoder):
            return requirement
    return None


def check_requested(
    methods: Sequence[Method], encoders: Sequence[Embeds], has_structure: bool = False
) -> None:
    """Check that each requested method can be used with one of the encoders at least.

    Raises:
        InputError: No encoder serves a method; the message says what is missing and what to do.
    """
    for method in methods:
        unmet = [find_unmet(method, encoder, has_structure) for encoder in encoders]
        if encoders and None not in unmet:
            first = min(filter(None, unmet), key=REQUIREMENTS.index)
            raise InputError(f"{describe(method)} {first.sentence}")


def check_labels(methods: Sequence[Method], has_labels: bool) -> None:
    """Check that one of the requested methods can do without labels if there are none.

    Raises:
        InputError: All of them learn from labels.
    """
    if methods and not has_labels and all(method.needs_labels for method in _as_tagged(methods)):
        raise InputError(
            f"{describe(methods[0])} learns from labels, and no image has one; label a few images "
            "of each class, or leave --method out, so that the names of the classes are used"
        )


def describe_left_out(
    methods: Sequence[Method], candidates: Iterable[Sequence[Method]], has_labels: bool
) -> list[str]:
    """Return a sentence for each requested method that is not a candidate on any encoder."""
    used = {describe(method) for some in candidates for method in some}
    sentences = []
    for method in _as_tagged(methods):
        if (name := describe(method)) in used:
            continue
        if method.needs_labels and not has_labels:
            sentences.append(f"{name} is left out: it learns from labels, and no image has one")
        elif method.needs_class_model:
            sentences.append(f"{name} is left out: no encoder knows every class by name")
    return sentences


def _as_tagged(methods: Sequence[Method]) -> Sequence[Any]:
    return methods
