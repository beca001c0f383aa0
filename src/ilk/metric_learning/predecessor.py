"""The version of an embedding that an update goes on from, and the places of its classes.

Classes of the old version keep their vertices of the fixed simplex (`DSimplex`), new ones take
vertices that are not used yet; training goes on from the old weights, near the old embeddings.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.encoders.tuned_folder import HEAD, TunedEmbedding
from ilk.images.rows.row import escape_path
from ilk.metric_learning.config import LearningConfig
from ilk.training.objectives.d_simplex import DSimplex

LOSS = "DSimplex"


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
