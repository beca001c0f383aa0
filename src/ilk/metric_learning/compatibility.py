"""Updates of an embedding that can query an index of the version before, without encoding it again.

Classes of the old version keep their vertices of the fixed simplex (`DSimplex`), new ones take
vertices that are not used yet; training goes on from the old weights, near the old embeddings. What
came of it is measured: queries by the new version must find at least as much in the old index as
queries by the old one do (see `ilk.maths.compatibility`), or the update is not called compatible.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.core.metrics import Interval
from ilk.encoders.tuned_folder import HEAD, TunedEmbedding
from ilk.images.rows.row import escape_path
from ilk.maths.compatibility import measure_retrieval
from ilk.maths.retrieval import bootstrap_classes
from ilk.metric_learning.config import LearningConfig
from ilk.training.objectives.d_simplex import DSimplex

LOSS = "DSimplex"
MAX_MEASURED = 4000  # images that search each other


@dataclass(frozen=True, eq=False)
class Predecessor:
    """The version before.

    Attributes:
        name: Its name as an encoder, `tuned:PATH`.
        key: Key of its feature space.
        embedding: What its folder holds; class i of its classes has vertex i.
    """

    name: str
    key: str
    embedding: TunedEmbedding

    @classmethod
    def open(cls, folder: Path, base: Any) -> Predecessor:
        """Open a tuned folder that was learned on features of the encoder `base`.

        Raises:
            Unavailable, ArtifactError: There is none, or it is damaged.
            InputError: It was learned with another loss, or on features of another encoder.
        """
        from ilk.encoders.registry import resolve_encoder

        name = f"tuned:{folder}"
        encoder: Any = resolve_encoder(name)
        embedding, shown = encoder.embedding, escape_path(folder)
        if embedding.loss.partition("(")[0] != LOSS:
            raise InputError(
                f"{shown} was learned with {embedding.loss}, under which a class has no fixed "
                f"place; learn it with --loss {LOSS}, and its updates can be compatible"
            )
        if encoder.base.space.key != base.space.key:
            raise InputError(
                f"{shown} reads features of {encoder.base.name}, and the update would read those "
                f"of {base.name}; give --encoder {encoder.base.name}"
            )
        return cls(name, encoder.space.key, embedding)

    def order_classes(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Return the old classes in their order, also those that are gone, then the new ones.

        Raises:
            InputError: There are more than the simplex has vertices.
        """
        old = self.embedding.classes
        ordered = (*old, *(name for name in classes if name not in set(old)))
        if len(ordered) > self.embedding.width + 1:
            raise InputError(
                f"{len(ordered)} classes, {len(old)} of them from {escape_path(self.name)}, need "
                f"as many vertices, and its width of {self.embedding.width} has "
                f"{self.embedding.width + 1}; learn both versions anew with a greater --width"
            )
        return ordered

    def make_network(self) -> nn.Module:
        """Return a copy of its network, to be trained further."""
        return copy.deepcopy(self.embedding.build_network()).requires_grad_(True)

    def adapt(self, config: LearningConfig) -> LearningConfig:
        """Return settings with the network of this version.

        Raises:
            InputError: They name another loss.
        """
        if config.loss != LOSS:
            raise InputError(
                f"an update keeps the classes of {escape_path(self.name)} in place, which the loss "
                f"{config.loss} does not; give --loss {LOSS}"
            )
        settings = self.embedding.settings
        is_head = self.embedding.kind == HEAD
        return replace(
            config,
            width=self.embedding.width,
            hidden=int(settings.get("hidden", 0)),
            network="head" if is_head else "convolutional",
        )

    def check_folder(self, folder: Path) -> None:
        """Check that an update in `folder` would not overwrite this version.

        Raises:
            InputError: It would.
        """
        if folder.resolve() == Path(self.name.partition(":")[2]).resolve():
            raise InputError(
                f"{escape_path(folder)} holds the version that the update is to be compatible "
                "with; choose another folder with --out"
            )


@dataclass(frozen=True, eq=False)
class ClassVertices:
    """The vertex of each class, and the version before.

    Attributes:
        classes: Names by vertex.
        vertex_of_class: Vertex of each class number of the training rows, `[k]`.
        predecessor: The version before; None for a first one.
    """

    classes: tuple[str, ...]
    vertex_of_class: Labels
    predecessor: Predecessor | None = None

    @classmethod
    def assign(cls, classes: Sequence[str], predecessor: Predecessor | None) -> ClassVertices:
        """Return the vertices of classes; those of an old version keep theirs.

        Args:
            classes: Names of the classes by number, `[k]`.
            predecessor: The version before.

        Raises:
            InputError: There are more classes than vertices.
        """
        ordered = tuple(classes) if predecessor is None else predecessor.order_classes(classes)
        place = {name: i for i, name in enumerate(ordered)}
        return cls(ordered, np.array([place[name] for name in classes], np.int64), predecessor)

    def make_network(self) -> nn.Module | None:
        """Return the network of the version before, to be trained further; None without one."""
        return None if self.predecessor is None else self.predecessor.make_network()

    def make_loss(self, scale: float | None, y: Labels) -> DSimplex:
        """Return the loss for rows.

        Args:
            scale: Scale of the cosines; None is the default of the loss.
            y: Class number of each row, `[n]`.
        """
        old = None if self.predecessor is None else self.predecessor.embedding.build_network()
        settings = {} if scale is None else {"scale": scale}
        vertices = self.vertex_of_class[np.unique(y)].tolist()
        return DSimplex(vertices=vertices, old_network=old, **settings)


@dataclass(frozen=True, eq=False)
class Compatibility:
    """How much queries find in an old index: mAP@R, with intervals over classes.

    Attributes:
        old: Queries by the old version, C_jj.
        new: Queries by the new version, C_ij.
        gain: Their difference.
        encoded_again: The new version in an index of its own, C_ii.
    """

    old: Interval
    new: Interval
    gain: Interval
    encoded_again: Interval

    @property
    def is_compatible(self) -> bool:
        """Whether new queries find at least as much in the old index as old ones, C_ij >= C_jj."""
        return self.gain.value >= 0

    def describe(self) -> dict[str, float]:
        """Return the figures as JSON."""
        return {
            "old queries, old index": self.old.value,
            "new queries, old index": self.new.value,
            "new queries, new index": self.encoded_again.value,
            "gain": self.gain.value,
            "gain, low": self.gain.low,
            "gain, high": self.gain.high,
        }

    def explain(self, name: str) -> str:
        """Return the verdict in one sentence; `name` is that of the old version."""
        figures = (
            f"{self.new.value:.3f} of the images of their class (mAP@R) against "
            f"{self.old.value:.3f} by its own queries (difference {self.gain.value:+.3f}, "
            f"{self.gain.low:+.3f} to {self.gain.high:+.3f}), and {self.encoded_again.value:.3f} "
            "in an index that is built again"
        )
        if self.is_compatible:
            return f"compatible with {name}: queries find in its index {figures}"
        return (
            f"not compatible with {name}: queries find in its index only {figures}; this is not "
            "recorded, and indexes have to be built again"
        )


def measure_update(old: NDArray[Any], new: NDArray[Any], y: Labels, seed: int = 0) -> Compatibility:
    """Return the compatibility of two versions, on images that search each other.

    Args:
        old: Embeddings of the images by the old version, `[n, e]`.
        new: Those by the new version, `[n, e]`.
        y: Classes, `[n]`.
        seed: Seed of the `MAX_MEASURED` images that are drawn if there are more.

    Raises:
        InputError: The shapes differ.
    """
    rows = np.arange(len(y))
    if len(rows) > MAX_MEASURED:
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MAX_MEASURED])
    before, after, classes = old[rows], new[rows], y[rows]
    old_old = measure_retrieval(before, before, classes)
    new_old = measure_retrieval(after, before, classes)
    new_new = measure_retrieval(after, after, classes)
    return Compatibility(
        *(
            Interval(*bootstrap_classes(values, classes))
            for values in (old_old, new_old, new_old - old_old, new_new)
        )
    )
