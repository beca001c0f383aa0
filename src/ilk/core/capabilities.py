"""What a network can do, as structural protocols; nothing inherits from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ilk.core.data import Features
from ilk.core.linear_models import Linear
from ilk.core.space import FeatureSpace

ResizeMode = Literal["crop", "squash", "letterbox"]
RESIZE_MODES: tuple[ResizeMode, ...] = ("crop", "squash", "letterbox")


@runtime_checkable
class Embeds(Protocol):
    """Maps images to feature vectors."""

    @property
    def name(self) -> str:
        """Its name, as after `--encoder`."""
        ...

    @property
    def space(self) -> FeatureSpace:
        """Key of its rows in the feature store; known without loading a network."""
        ...

    @property
    def batch_size(self) -> int:
        """Best batch size for `embed`."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return name, key, digests, preprocessing and precision, for `restore_encoder`."""
        ...

    def load(self) -> None:
        """Load the weights; takes seconds for a network and no time for others."""
        ...

    def prepare(self, image: Image.Image) -> NDArray[np.uint8]:
        """Preprocess an RGB image to `[c, h, w]` uint8. Thread-safe; needs no torch."""
        ...

    def embed(self, batch: NDArray[np.uint8]) -> Features:
        """Return features `[b, d]` of prepared images `[b, c, h, w]`. Thread-safe."""
        ...


@runtime_checkable
class Resizes(Embeds, Protocol):
    """Can bring an image of any shape to its input size in more than one way.

    `crop` keeps the shape and cuts off what does not fit; `squash` keeps everything and stretches
    it; `letterbox` keeps both and pads.
    """

    @property
    def resize(self) -> ResizeMode:
        """The way that `prepare` takes."""
        ...

    def with_resize(self, mode: ResizeMode) -> Embeds:
        """Return the encoder with another way; its name says so unless it is the original one."""
        ...


@runtime_checkable
class CombinesEncoders(Embeds, Protocol):
    """Several encoders whose features stand side by side."""

    @property
    def parts(self) -> tuple[Embeds, ...]:
        """The encoders, in the order of their columns."""
        ...


def list_parts(encoders: Iterable[Embeds]) -> list[Embeds]:
    """Return single encoders: those given, and the parts of those that combine several."""
    return [
        part
        for encoder in encoders
        for part in (encoder.parts if isinstance(encoder, CombinesEncoders) else (encoder,))
    ]


@runtime_checkable
class EmbedsText(Protocol):
    """Maps texts to the feature space of the images."""

    def embed_text(self, prompts: Sequence[str]) -> Features:
        """Return features `[k, d]` of length 1."""
        ...


@runtime_checkable
class NamesClasses(Protocol):
    """Knows ImageNet's 1,000 classes by name: its features are those of a classifier of them."""

    def load_name_head(self) -> Linear:
        """Return the classifier of its features: weight `[1000, d]`, in ImageNet's order."""
        ...


@runtime_checkable
class Derives(Embeds, Protocol):
    """An encoder whose features are computed from those of another.

    Images are encoded by the other one alone, so that features it has stored are used again.
    """

    @property
    def base(self) -> Embeds:
        """The other encoder."""
        ...

    def transform(self, features: Features) -> Features:
        """Return features `[n, d]` from those of the base, `[n, h]`."""
        ...


@runtime_checkable
class KeepsFiles(Embeds, Protocol):
    """An encoder that a model folder holds itself, so that the folder is complete and movable.

    Its name is that of a family and a folder, such as `compressed:PATH`, and its files are all that
    the family needs to open that folder.
    """

    def get_model_files(self) -> Mapping[str, bytes]:
        """Return the contents of its files by name, without folders."""
        ...


@runtime_checkable
class KnowsTrainingImages(Protocol):
    """An encoder that was trained with labels and knows on which images."""

    def is_held_out(
        self, digests: Sequence[str], groups: NDArray[np.int64] | None = None
    ) -> NDArray[np.bool_]:
        """Whether each file can be scored by a network that was not trained on it, `[n]`.

        With the groups of the files, `[n]`, -1 for a group of its own: nor on another of its group.
        """
        ...


@runtime_checkable
class ScoresClasses(KnowsTrainingImages, Protocol):
    """An encoder that is itself a classifier: its features are one score per class."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the scores."""
        ...


def find_trained_parts(encoder: Embeds) -> list[KnowsTrainingImages]:
    """Return an encoder, and those inside it, that know which images they were trained on.

    Inside are the parts of a combination and what views are averaged of.
    """
    parts: list[object] = [encoder]
    for part in parts:  # grows
        parts += [*getattr(part, "parts", ()), *filter(None, [getattr(part, "base", None)])]
    return [part for part in parts if isinstance(part, KnowsTrainingImages)]


@runtime_checkable
class Explains(Embeds, ScoresClasses, Protocol):
    """Can show which regions of an image distinguish two classes."""

    def explain(self, prepared: NDArray[np.uint8], first: int, second: int) -> Image.Image:
        """Draw which regions of a prepared image `[c, h, w]` support which of two classes."""
        ...
