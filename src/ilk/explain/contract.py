"""What an explainer is: one file of `ilk.explain.explainers`, a frozen dataclass with tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ilk.explain.question import Question
    from ilk.explain.subject import Subject

Map = NDArray[np.float32]
"""Values `[h, w]`, one per pixel of `Subject.picture`: positive supports the target."""


class Explainer(Protocol):
    """A method with its settings."""

    def explain(self, subject: Subject, seed: int, /) -> Map:
        """Return a finite map `[h, w]` of the subject: the same for the same image and seed.

        Raises:
            Unavailable: It needs something that this classifier does not have.
        """
        ...


class ExplainerTags:
    """Base class of explainers; a class states its name and what differs from these defaults."""

    name: ClassVar[str] = ""
    """As after `--method`, such as `grad-cam`."""
    paper: ClassVar[str] = ""
    """Who published it and when, in a few words."""
    needs_gradients: ClassVar[bool] = False
    """Opens the torch network behind the encoder."""
    needs_attention: ClassVar[bool] = False
    """Reads the attention of a transformer."""
    needs_class_errors: ClassVar[bool] = False
    """Reads the errors per class of a diffusion classifier."""
    needs_neighbours: ClassVar[bool] = False
    """Reads the features of training images that are kept beside the model."""
    needs_training: ClassVar[bool] = False
    """Reads a part of the classifier that has to be trained first."""
    is_class_specific: ClassVar[bool] = True
    """The map of another class is another map."""
    default_candidate: ClassVar[bool] = False
    """Tried by `--method auto`, if the subject has what it needs and it fits the budget."""

    def count_passes(self, subject: Subject, /) -> int:
        """Return about how many passes of the encoder one map takes; a gradient counts as three."""
        raise NotImplementedError

    def describe(self, subject: Subject, values: Map, question: Question, /) -> str:
        """Return sentences about a map that `explain` returned, beyond those of every map."""
        return ""

    def list_variants(self) -> tuple[ExplainerTags, ...]:
        """Return the settings that `auto` compares, such as layers; itself by default."""
        return (self,)


def check_least(explainer: ExplainerTags, **least: float) -> None:
    """Raise ValueError if a setting is smaller than the value given for it."""
    for name, bound in least.items():
        value = getattr(explainer, name)
        if not value >= bound:
            raise ValueError(f"{name} is {value}; it must be at least {bound}")
