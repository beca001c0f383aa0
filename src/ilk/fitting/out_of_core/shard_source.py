"""A shard folder as the source of a fit: its images, their features, and the encoders of these."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ilk.core.capabilities import Embeds
from ilk.core.errors import InputError, Unavailable
from ilk.diffusion.classification.context import ClassificationContext
from ilk.fitting.config import FitConfig
from ilk.fitting.encoding import LogCallback, resolve_encoders
from ilk.images import Images
from ilk.images.annotations.groups import assign_groups_from_paths, refuse_split_groups
from ilk.images.duplicates.same_content import refuse_duplicates
from ilk.images.inspection.contents import AnyContent, ContentMap, to_content_map
from ilk.images.rows import Row, escape_path
from ilk.shards.features import ShardedFeatures
from ilk.shards.manifest import Manifest
from ilk.shards.parts import read_outcomes
from ilk.shards.spaces import ShardSpace, choose_space


@dataclass(frozen=True, eq=False)
class ShardSource:
    """A shard folder that is opened for a fit.

    Attributes:
        images: The images of the manifest with the status that a fit on them would give.
        features: Features of the same rows by encoder, one or more.
        encoders: The encoders, in the same order.
    """

    images: Images
    features: tuple[ShardedFeatures, ...]
    encoders: tuple[Embeds, ...]


def open_source(
    folder: str | os.PathLike[str],
    config: FitConfig,
    log: LogCallback,
    group_from: str | None = None,
) -> ShardSource:
    """Open a shard folder whose parts are all there.

    Args:
        folder: The shard folder.
        config: Settings; `encoders` chooses among the features that the folder has.
        log: Called with a message about each choice.
        group_from: Regular expression that finds the group of an image in its path, as for images.

    Raises:
        InputError: A setting needs the images themselves, or there are features of several encoders
            and none is named.
        ArtifactError: A part is missing or damaged; the message names the command that makes it.
        Unavailable: An encoder is not available on this machine, or has other weights.
    """
    _check_settings(config)
    manifest = Manifest.read(folder)
    names = [name for name in dict.fromkeys(config.encoders) if name != "default"]
    spaces = [choose_space(manifest.folder, name) for name in names]
    spaces = spaces or [_choose_only(manifest)]
    features = tuple(ShardedFeatures.open(folder, space.key) for space in spaces)
    images = read_images(manifest, features, group_from)
    context = ClassificationContext(None, config.prompts, None)
    precision = str(spaces[0].encoder.get("precision", config.precision))
    own = replace(config, encoders=tuple(s.name for s in spaces), precision=precision)
    encoders = resolve_encoders(images, own, context, log)
    for encoder, space in zip(encoders, spaces, strict=True):
        if encoder.space.key != space.key:
            raise Unavailable(
                f"{escape_path(space.home)} holds features of {space.name} with other weights, "
                "preprocessing or version than this machine's; restore the same files, or encode "
                "again into another folder"
            )
    return ShardSource(images, features, tuple(encoders))


def read_images(
    manifest: Manifest, features: Sequence[ShardedFeatures], group_from: str | None = None
) -> Images:
    """Return the images of a manifest, refused as a fit on the images refuses them.

    Equal pixels are not compared yet: `encode_and_refuse` does so.

    Args:
        manifest: The manifest.
        features: Features whose parts say which images could not be encoded.
        group_from: Regular expression that finds the group of an image in its path.
    """
    rows: list[Row] = []
    items: dict[str, AnyContent] = {}
    origins: dict[str, str] = {}
    failures: dict[str, tuple[str, str]] = {}
    for i in range(manifest.n_shards):
        images = manifest.open_shard(i)
        contents = to_content_map(images.contents)
        for digest in contents:
            if (item := contents.find_item(digest)) is not None:
                items[digest], origins[digest] = item, contents.find_origin(digest)
        rows += images.rows
        for one in features:
            outcomes = read_outcomes(one.space, i, ["reason", "detail"])
            for row, reason, detail in zip(
                images.rows, outcomes["reason"], outcomes["detail"], strict=True
            ):
                if reason and row.status == "used":
                    failures[row.digest] = (reason, detail or "")
    if group_from is not None:
        rows = assign_groups_from_paths(rows, group_from)
    folders = () if manifest.root is None else (Path(manifest.root),)
    return Images(
        None if manifest.root is None else Path(manifest.root),
        tuple(refuse_split_groups(refuse_duplicates(rows))),
        ContentMap(items, origins),
        manifest.notes,
        (*folders, manifest.folder.absolute()),
        value_ranges=dict(manifest.value_ranges or {}),
    ).refuse(failures)


def _choose_only(manifest: Manifest) -> ShardSpace:
    """Return the only space of a shard folder."""
    try:
        return choose_space(manifest.folder)
    except InputError as error:
        if "name one" in str(error):
            raise InputError(f"{error} with --encoder NAME (encoders=)") from None
        raise


def _check_settings(config: FitConfig) -> None:
    """Raise InputError for settings that change how images are encoded."""
    wrong = [
        (bool(config.classifiers), "--classifier (classifiers=)"),
        (config.resize != "auto", "--resize (resize=)"),
        (config.views != "auto", "--views (views=)"),
    ]
    for is_set, option in wrong:
        if is_set:
            raise InputError(
                f"{option} changes how images are encoded, and shards hold features that are "
                "encoded already; leave it out, or encode again with: ilk encode DIR --out SHARDS "
                "--encoder 'NAME@resize=squash,views=6'"
            )
