"""Fit a classifier to whatever is given: images, or a shard folder of features."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

from ilk.artifacts.classifier import Classifier
from ilk.artifacts.loading import AnyClassifier
from ilk.artifacts.multi_label_classifier import MultiLabelClassifier
from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.fitting import fit as ordinary
from ilk.fitting.config import FitConfig
from ilk.fitting.encoding import LogCallback
from ilk.fitting.multi_label import fit_multi_label_with_report
from ilk.fitting.out_of_core.fit_streamed import fit_streamed
from ilk.fitting.out_of_core.memory import MemoryPlan, plan_memory
from ilk.fitting.out_of_core.shard_source import ShardSource, open_source
from ilk.fitting.settings import FIT_SETTINGS, configure, take_duplicates
from ilk.images import Images
from ilk.report import ReportData
from ilk.report.multi_label_data import MultiLabelReport
from ilk.shards.manifest import is_shard_folder
from ilk.shards.store_view import ShardStore
from ilk.store import Store

DEFAULTS = (("pages", "first"), ("value_range", "auto"))


@wraps(ordinary.fit)
def fit(
    images: Any,
    config: FitConfig | None = None,
    *,
    store: Store | None = None,
    progress: Progress = silent_progress,
    log: LogCallback = lambda _line: None,
    **settings: Any,
) -> AnyClassifier:
    """Fit a classifier; see `ilk.fitting.fit.fit`, which fits images, and reads shards as well."""
    if not is_shards(images):
        return ordinary.fit(images, config, store=store, progress=progress, log=log, **settings)
    settings = take_duplicates(settings)
    config = configure(config, settings)
    check_reading({n: v for n, v in settings.items() if n not in FIT_SETTINGS}, "{}=")
    opened = open_shards(images, config, log, settings.get("group_from"), store)
    return ordinary.fit_read_images(
        opened.images,
        config,
        partial(fit_shards_with_report, opened),
        partial(fit_shard_labels, opened),
        progress,
        log,
    )


@dataclass(frozen=True, eq=False)
class OpenedShards:
    """A shard folder that is opened for a fit, and the store of its features."""

    source: ShardSource
    store: ShardStore

    @property
    def images(self) -> Images:
        """The images of the manifest."""
        return self.source.images


def is_shards(images: Any) -> bool:
    """Return whether `images` is the path of a shard folder."""
    return isinstance(images, str | os.PathLike) and is_shard_folder(os.fspath(images))


def check_reading(settings: Mapping[str, Any], option: str) -> None:
    """Refuse settings of how images are read, which the manifest holds; groups may be found anew.

    Args:
        settings: Settings of `ilk.read` by name; those that are None, false or empty are not given.
        option: How they are written, with `{}` for the name.

    Raises:
        InputError: One is given.
    """
    for name, value in settings.items():
        if name not in ("group_from", "group-from") and value and (name, value) not in DEFAULTS:
            raise InputError(
                f"{option.format(name)} says how images are read, and the manifest of the shards "
                "holds what was read; give it to ilk encode, which makes the shards"
            )


def open_shards(
    folder: str | os.PathLike[str],
    config: FitConfig,
    log: LogCallback,
    group_from: str | None = None,
    store: Store | None = None,
) -> OpenedShards:
    """Open a shard folder for a fit; see `ilk.fitting.out_of_core.shard_source.open_source`.

    Args:
        folder: The shard folder.
        config: Settings.
        log: Called with a message about each choice.
        group_from: Regular expression that finds the group of an image in its path.
        store: Store of what shards lack; the user's own by default.
    """
    source = open_source(folder, config, log, group_from)
    path = None if store is None else store.path
    return OpenedShards(source, ShardStore(source.features, path))


def fit_shards_with_report(
    opened: OpenedShards,
    config: FitConfig,
    *,
    progress: Progress = silent_progress,
    log: LogCallback = lambda _line: None,
) -> tuple[Classifier, ReportData]:
    """Fit a classifier to a shard folder, and return it together with the data of its report.

    Where the features fit in memory, it is the one that a fit on the images gives, with the same
    encoders and no variants of them.

    Args:
        opened: The shard folder.
        config: Settings; `memory` decides whether the features are held.
        progress: Reports the progress of long operations.
        log: Called with a message about each choice.

    Raises:
        NoImages: No image can be used.
        NoLabels: There are no labels and no `classes`.
        InputError: There is only one class, or the settings contradict each other.
    """
    plan = _plan(opened, config)
    if plan.fits:
        return ordinary.fit_with_report(
            opened.images,
            config,
            store=opened.store,
            progress=progress,
            log=log,
            encoders=opened.source.encoders,
        )
    if config.group_duplicates:
        raise InputError(
            f"{plan}; group_from (--group-from) duplicates compares all images in memory only: "
            "give more memory, or write the groups of ilk duplicates into a table that ilk encode "
            "reads (--group-column)"
        )
    log(f"{plan}: features are read block by block")
    return fit_streamed(opened.source, config, plan, opened.store, progress, log)


def fit_shard_labels(
    opened: OpenedShards,
    config: FitConfig,
    *,
    progress: Progress = silent_progress,
    log: LogCallback = lambda _line: None,
) -> tuple[MultiLabelClassifier, MultiLabelReport]:
    """Fit a classifier of several labels per image to a shard folder, in memory.

    Raises:
        InputError: The features do not fit in memory.
    """
    plan = _plan(opened, config)
    if not plan.fits:
        raise InputError(
            f"{plan}; images with several labels are fitted in memory only: raise "
            "--memory, or take fewer images"
        )
    return fit_multi_label_with_report(
        opened.images,
        config,
        store=opened.store,
        progress=progress,
        log=log,
        encoders=opened.source.encoders,
    )


def _plan(opened: OpenedShards, config: FitConfig) -> MemoryPlan:
    images = opened.images
    width = sum(one.d for one in opened.source.features)
    return plan_memory(len(images.used), width, max(1, len(images.classes)), config.memory)
