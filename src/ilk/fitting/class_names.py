"""What an encoder that knows ImageNet's classes by name says of the classes of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from ilk.core.capabilities import Embeds, NamesClasses
from ilk.core.contracts import Method
from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.grouped_softmax import GroupedSoftmax
from ilk.fitting.candidates import has_tag
from ilk.fitting.fit_state import FitState
from ilk.vocabulary.class_names import UnknownClassNames, read_class_names

FIRST_GUESS = (
    "the classifier is a first guess from the names of the classes; label a few images of each to "
    "measure it and to improve it"
)
ADVICE = "label a few images of each class, or add --encoder clip/NAME, which reads any name"


def make_class_model(encoder: NamesClasses, classes: Sequence[str]) -> GroupedSoftmax | None:
    """Return the encoder's own classifier, its outputs grouped by class; None for other names."""
    with suppress(InputError):
        names = read_class_names(classes)
        head = encoder.load_name_head()
        return GroupedSoftmax(head.weight, head.bias, names.class_of)
    return None


def check_class_names(
    methods: Sequence[Method],
    encoders: Sequence[Embeds],
    features: Mapping[str, Data],
    candidates: Mapping[str, Sequence[Method]],
) -> None:
    """Check that what has to know the classes by name does.

    Raises:
        InputError: There is no candidate, and an encoder or the methods depend on names that it
            does not know; or the methods need an encoder that knows names and there is none.
    """
    only_names = all(has_tag(method, "needs_class_model") for method in methods)
    if any(candidates.values()):
        return
    naming = [encoder.name for encoder in encoders if isinstance(encoder, NamesClasses)]
    if not naming and only_names:
        raise InputError(
            f"{type(methods[0]).__name__} needs an encoder that knows classes by name; add "
            "--encoder efficientnet-lite0"
        )
    if naming and any(has_tag(method, "needs_class_model") for method in methods):
        try:
            read_class_names(features[naming[0]].classes)
        except UnknownClassNames as error:
            raise InputError(f"{error}; {ADVICE}") from None


def collect_name_notes(state: FitState) -> list[str]:
    """Return how names were read and how many images show something else, if names were used."""
    if not has_tag(state.method, "needs_class_model"):
        return []
    notes = list(read_class_names(state.split.classes).describe_senses())
    if not state.split.train:
        notes.insert(0, FIRST_GUESS)
    outside = state.features.class_model.outside(state.features.x)
    if n_outside := int((outside > 0.5).sum()):
        images = "image" if len(outside) == 1 else "images"
        notes.append(
            f"{n_outside:,} of {len(outside):,} {images} may show something other than these "
            "classes: most of the probability is on other classes of ImageNet"
        )
    return notes
