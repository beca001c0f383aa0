"""A shard folder as the source of a fit: its images, their features, and the encoders of these."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial

from ilk.core.capabilities import Embeds
from ilk.core.errors import InputError, Unavailable
from ilk.diffusion.classification.context import ClassificationContext
from ilk.encoders import resolve_encoder
from ilk.fitting.config import FitConfig
from ilk.fitting.encoding import LogCallback, resolve_encoders
from ilk.images import Images
from ilk.images.annotations.groups import assign_groups_from_paths, refuse_split_groups
from ilk.images.rows import escape_path
from ilk.shards.features import ShardedFeatures
from ilk.shards.listing import load_listing
from ilk.shards.manifest import Manifest
from ilk.shards.spaces import ShardSpace, choose_space, find_space, list_spaces


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
        config: Settings; `encoders` chooses among the features that the folder has; all by default.
        log: Called with a message about each choice.
        group_from: Regular expression that finds the group of an image in its path, as for images.

    Raises:
        InputError: A setting needs the images themselves, or there are no features.
        ArtifactError: A part is missing or damaged; the message names the command that makes it.
        Unavailable: An encoder is not available on this machine, or has other weights.
    """
    _check_settings(config)
    manifest = Manifest.read(folder)
    names = [name for name in dict.fromkeys(config.encoders) if name != "default"]
    resolve = partial(resolve_encoder, device=config.device, runtime=config.runtime)
    spaces = [find_space(manifest.folder, name, resolve) for name in names]
    spaces = spaces or _list_all(manifest, log)
    features = tuple(ShardedFeatures.open(folder, space.key) for space in spaces)
    images = read_images(manifest, group_from)
    context = ClassificationContext(None, config.prompts, None)
    precision = str(spaces[0].encoder.get("precision", config.precision))
    own = replace(config, encoders=tuple(s.name for s in spaces), precision=precision)
    encoders = resolve_encoders(images, own, context, log)
    for encoder, space in zip(encoders, spaces, strict=True):
        if encoder.space.key != space.key:
            raise Unavailable(
                f"{escape_path(space.home)} holds features of {space.name} with different weights, "
                "preprocessing or version than this machine's; restore the same files, or encode "
                "again into another folder"
            )
    return ShardSource(images, features, tuple(encoders))


def read_images(manifest: Manifest, group_from: str | None = None) -> Images:
    """Return the images of a manifest as they were listed, refused as a fit on them refuses them.

    What only decoding shows is found by `encode_and_refuse` with a store of the shards.

    Args:
        manifest: The manifest.
        group_from: Regular expression that finds the group of an image in its path.
    """
    images = load_listing(manifest)
    images = replace(images, folders=(*images.folders, manifest.folder.absolute()))
    if group_from is None:
        return images
    rows = assign_groups_from_paths(images.rows, group_from)
    return replace(images, rows=tuple(refuse_split_groups(rows)))


def _list_all(manifest: Manifest, log: LogCallback) -> list[ShardSpace]:
    """Return all spaces of a shard folder, the one with fewest features first.

    Raises:
        InputError: There is none.
    """
    spaces = sorted(list_spaces(manifest.folder), key=lambda space: (space.d, space.name))
    if len(spaces) < 2:
        return [choose_space(manifest.folder)]
    log(f"encoders: {', '.join(space.name for space in spaces)} (--encoder NAME chooses)")
    return spaces


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
