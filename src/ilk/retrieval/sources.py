"""What is searched: a folder of images, a model folder, a folder of shards, or a saved index."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ilk.core.capabilities import Embeds, EmbedsText
from ilk.core.data import Labels
from ilk.core.errors import InputError
from ilk.core.space import FeatureSpace
from ilk.images import escape_path
from ilk.images.sources.ilk_folders import is_model_folder, is_shard_folder
from ilk.retrieval.collection import Collection
from ilk.retrieval.entries import Entry, join_labels
from ilk.retrieval.index_folder import is_index

if TYPE_CHECKING:
    from ilk.explain.neighbours import NeighbourIndex


def find_source_kind(source: str | os.PathLike[str]) -> str:
    """Return what a path stands for: index, model, shards or images."""
    folder = Path(source)
    if is_index(folder):
        return "index"
    if is_model_folder(folder):
        return "model"
    return "shards" if is_shard_folder(folder) else "images"


@dataclass(frozen=True, eq=False)
class OpenSource:
    """A collection with what is needed to ask it and to show it.

    Attributes:
        collection: Images with features.
        encoder: Encoder of the queries.
        find_picture: Returns the image of a digest, if it is not the file at its path.
        classifier: The classifier whose encoder it is; None without one.
    """

    collection: Collection
    encoder: Embeds
    find_picture: Callable[[str], Any] = lambda _digest: None
    classifier: Any = None


def open_model(folder: str | os.PathLike[str], *, fetch: bool, **settings: str) -> OpenSource:
    """Return the training images that a model folder keeps.

    Args:
        folder: The model folder.
        fetch: Fetch files of its encoder that are not on this machine.
        settings: device and runtime.

    Raises:
        ArtifactError: The folder is not a classifier, or is damaged.
        InputError: The model keeps no training images.
    """
    from ilk.artifacts.loading import load

    classifier = load(Path(folder), fetch=fetch, **settings)
    kept = classifier.neighbours() if classifier.neighbours is not None else None
    if kept is None or not len(kept):
        raise InputError(
            f"{escape_path(folder)} keeps no training images to search; fit the model again, or "
            "search a folder of images with --model"
        )
    return collect_neighbours(kept, classifier.encoder, classifier.value_ranges)


def collect_neighbours(kept: NeighbourIndex, encoder: Embeds, ranges: Any = None) -> OpenSource:
    """Return the training images that a classifier keeps.

    Raises:
        InputError: They are of another encoder.
    """
    if kept.space != encoder.space.key:
        raise InputError(
            f"the training images of this model were encoded by a different encoder than "
            f"{encoder.name}; fit the model again"
        )
    entries = [
        Entry(digest, path, label)
        for digest, path, label in zip(kept.digests, kept.paths, kept.labels, strict=True)
    ]
    unique = list({entry.digest: i for i, entry in enumerate(entries)}.values())
    features = kept.features

    def take(positions: Labels) -> Any:
        return features[np.asarray(unique, np.int64)[positions]].astype(np.float32)

    collection = Collection(
        tuple(entries[i] for i in unique),
        encoder.space,
        take,
        encoder.describe(),
        value_ranges=ranges or {},
        reads_text=isinstance(encoder, EmbedsText),
        notes=("the training images that the model keeps are searched, not all of them",),
    )
    return OpenSource(collection, encoder, lambda digest: kept.read_thumbnail(digest) or None)


def collect_shards(folder: str | os.PathLike[str], space: str | None = None) -> Collection:
    """Return the images of a folder of shards with the features of a space.

    Raises:
        InputError: There are no features of this space, or of several and none is named.
        ArtifactError: A part is missing or damaged; the message has the command that makes it.
    """
    from ilk.shards.features import ShardedFeatures

    features = ShardedFeatures.open(folder, space)
    positions: dict[str, list[int]] = {}
    digests, paths = features.digests, features.paths
    for i in np.flatnonzero(features.has_features):
        positions.setdefault(str(digests[i]), []).append(int(i))
    classes, y = features.classes, features.y
    entries = tuple(
        Entry(
            digest,
            paths[rows[0]],
            join_labels([classes[y[i]] for i in rows if y[i] >= 0]),
            tuple(paths[i] for i in rows[1:]),
        )
        for digest, rows in positions.items()
    )
    first = np.array([rows[0] for rows in positions.values()], np.int64)
    matrix = features.memory_map()

    def take(chosen: Labels) -> Any:
        return np.asarray(matrix[first[chosen]], np.float32)

    found = FeatureSpace(features.space.key, features.space.name, features.d)
    encoder = {"name": found.name, "key": found.key}
    n_missing = features.n - int(features.has_features.sum())
    files = "1 file has" if n_missing == 1 else f"{n_missing:,} files have"
    notes = (f"{files} no features and cannot be searched",) if n_missing else ()
    return Collection(entries, found, take, encoder, os.path.abspath(folder), notes=notes)
