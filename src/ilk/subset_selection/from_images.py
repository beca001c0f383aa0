"""From the images of a source to a folder of those that are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.capabilities import Embeds
from ilk.core.csv_cells import CsvFormatter
from ilk.core.data import Data
from ilk.core.errors import InputError, NoLabels
from ilk.core.progress import Progress, silent_progress
from ilk.core.short_lists import list_first
from ilk.encode import encode_and_refuse
from ilk.images import Images, Row, number_row_groups
from ilk.store import Store
from ilk.subset_selection.copies import CONFLICTING, COPY, LEAKING, Copies, find_copies
from ilk.subset_selection.folder import FolderImage, write_image_folder
from ilk.subset_selection.select_rows import Selection, SelectionConfig, select_rows
from ilk.subset_selection.verdict import BASELINE, Verdict

COMMAND = "select"
COLUMNS = ("path", "digest", "label", "rank", "score", "kept", "reason")


@dataclass(frozen=True, eq=False)
class SelectionResult:
    """What `select_from_images` kept and wrote.

    Attributes:
        selection: Positions and scores among `rows`, and the verdict.
        rows: The different pictures that could be chosen.
        copies: The files that were left out first.
        n_images: Training images of the source, copies included.
        n_target: Images of the target; 0 without one.
        counts: Number of images kept, by class.
        notes: Sentences about the result, the verdict first.
    """

    selection: Selection
    rows: tuple[Row, ...]
    copies: Mapping[int, tuple[str, str]]
    n_images: int
    n_target: int
    counts: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def kept(self) -> tuple[Row, ...]:
        """The rows that are kept, the most useful first."""
        return tuple(self.rows[i] for i in self.selection.kept)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        verdict = self.selection.verdict
        reasons = Counter(why for why, _ in self.copies.values())
        return {
            "images": self.n_images,
            "pictures": len(self.rows),
            "kept": len(self.selection.kept),
            "copies": {name: reasons[name] for name in (COPY, CONFLICTING, LEAKING)},
            "target_images": self.n_target,
            "selector": self.selection.selector,
            "classes": self.selection.mode,
            "counts": dict(self.counts),
            "lost": None if verdict is None else verdict.to_json(),
            "notes": list(self.notes),
        }


def select_from_images(
    images: Images,
    target: Images | None,
    encoder: Embeds,
    store: Store,
    config: SelectionConfig,
    *,
    find_near_copies: bool = True,
    progress: Progress = silent_progress,
) -> SelectionResult:
    """Choose among the training images of a source; nothing is written.

    Args:
        images: The source; only its training images are chosen.
        target: Images of the target; None without one.
        encoder: Gives the features.
        store: Features and summaries of pixels; what is missing is computed and stored.
        config: Settings.
        find_near_copies: Leave out copies of one picture that are not the same to the byte, too.
        progress: Reports the progress of long operations.

    Raises:
        NoImages: No file can be used.
        NoLabels, InputError: As `select_rows`, or there is a single picture, or each image of the
            target is one of the source.
    """
    images.check_not_empty()
    _check_single_label(images)
    if find_near_copies:
        copies = find_copies(images, encoder, store, seed=config.seed, progress=progress)
    else:
        copies = Copies(encode_and_refuse(images, [encoder], store, progress=progress), {})
    images = copies.images
    places = [
        i for i, row in enumerate(images.rows) if row.status == "used" and row.split == "train"
    ]
    rows = [images.rows[i] for i in places if i not in copies.reasons]
    has_labels = any(row.label is not None for row in rows)
    n_unlabelled = 0
    if has_labels and (target is None or config.balance):
        n_unlabelled = sum(row.label is None for row in rows)
        rows = [row for row in rows if row.label is not None]
    if not rows:
        raise InputError("no training image is left to choose from; give a folder with others")
    if len(rows) == 1:
        raise InputError(
            f"there is only one picture to choose from, {rows[0].path}; give a folder with more"
        )
    if target is None and not has_labels:
        raise NoLabels(
            f"{len(rows)} images and no labels; without a target, images are ranked by what "
            "they teach about classes: use one folder per class, or name images of the target "
            "with --target"
        )
    classes = tuple(sorted({str(row.label) for row in rows if row.label is not None}))
    source = _read_data(rows, classes, encoder, store)
    goal, n_goal, is_new = None, 0, None
    if target is not None:
        target.check_not_empty()
        target = encode_and_refuse(target, [encoder], store, progress=progress)
        target.check_not_empty()
        goal = _read_data(target.used, classes, encoder, store)
        n_goal = len(goal)
        is_new = _find_new(target.used, rows)
    selection = select_rows(source, goal, config, progress, is_new=is_new)
    counts = Counter(str(rows[i].label) for i in selection.kept if rows[i].label is not None)
    listed = [r for r in images.rows if r.split == "train" and r.status != "ignored"]
    labels = {str(row.label) for row in listed if row.label is not None}
    notes = describe(selection, copies, classes, counts, n_unlabelled, config)
    if lost := sorted(labels - set(classes)):
        notes.append(
            f"no image is left of {len(lost)} of {len(labels)} classes, since all are copies that "
            f"are left out, or cannot be read: {', '.join(lost[:10])}"
        )
    if is_new is not None and not is_new.all():
        notes.append(
            f"{int((~is_new).sum()):,} images of the target are in the source as well: nothing is "
            "measured on them"
        )
    n_shared = len(np.unique(goal.y[goal.y >= 0])) if goal is not None else 0
    if goal is not None and selection.verdict is not None and n_shared < 2:
        notes.append(
            "the target has fewer than two classes in common with the source (or no labels), so no "
            "accuracy can be measured; the log density of images of the target under a model of "
            "the kept images is compared instead"
        )
    return SelectionResult(
        selection,
        tuple(rows),
        copies.reasons,
        len(places),
        n_goal,
        {name: counts[name] for name in classes},
        tuple(notes),
    )


def write_selection(
    folder: Path,
    images: Images,
    result: SelectionResult,
    *,
    link: bool = False,
    progress: Progress = silent_progress,
) -> None:
    """Write what was kept as an image folder, with `selection.json` and `selection.csv`.

    Args:
        folder: Where to write.
        images: The source.
        result: What was chosen.
        link: Make hard links in place of copies, where the file system can.
        progress: Reports each image.

    Raises:
        InputError: An image of the source is gone or changed; nothing is written.
        OutputError: The disk is full, or the folder cannot be written.
    """
    written = []
    for row in result.kept:
        image = FolderImage.from_row(images, row)
        source = images.source_of(row)
        is_linked = link and not row.page
        written.append(
            replace(image, link=source if is_linked and isinstance(source, Path) else None)
        )
    facts = {"selection": result.to_json()}
    listing = _format_listing(images, result)
    write_image_folder(folder, written, COMMAND, facts, progress, listing=listing)


def describe(
    selection: Selection,
    copies: Copies,
    classes: Sequence[str],
    counts: Mapping[str, int],
    n_unlabelled: int,
    config: SelectionConfig,
) -> list[str]:
    """Return sentences on what was kept and what it costs, the verdict first."""
    notes = []
    if selection.verdict is not None:
        notes.append(_describe_verdict(selection.verdict))
    elif len(selection.kept) < len(selection.scores):
        notes.append(
            "nothing could be measured: too few images to leave some out, or a single class, so "
            f"{selection.selector} was used unchecked"
        )
    for reason, what in (
        (COPY, "of other images"),
        (CONFLICTING, "of images under another label"),
        (LEAKING, "of test images"),
    ):
        if n := copies.count(reason):
            notes.append(f"{n:,} {'copy' if n == 1 else 'copies'} {what} left out")
    if n_unlabelled:
        what = "1 image" if n_unlabelled == 1 else f"{n_unlabelled:,} images"
        notes.append(f"{what} without a label left out")
    if gone := [name for name in classes if not counts.get(name)]:
        notes.append(
            f"no image is kept of {len(gone)} of {len(classes)} classes, which are of least use "
            f"for the target: {list_first(gone, 10)}; --balance keeps all classes"
        )
    return notes


def _describe_verdict(verdict: Verdict) -> str:
    gain = verdict.gain
    figures = f"{gain.value:+z.3f}, 95 % interval {gain.low:+z.3f} to {gain.high:+z.3f}"
    what = f"{verdict.measure} on {verdict.n:,} left-out images"
    if verdict.selector == BASELINE:
        return (
            "kept at random: no rule chooses clearly more useful images (the best, "
            f"{verdict.best}: {figures} in {what})"
        )
    word = "better than" if gain.low > 0 else "worse than" if gain.high < 0 else "no different from"
    return f"kept by {verdict.selector}: {word} as many random images ({figures} in {what})"


def _find_new(target: Sequence[Row], source: Sequence[Row]) -> NDArray[np.bool_]:
    """Return which images of the target are not files of the source, `[m]`."""
    known = {row.digest for row in source}
    is_new = np.array([row.digest not in known for row in target], bool)
    if not is_new.any():
        raise InputError(
            "every image of the target (--target) is in the source as well, so the most useful "
            "ones would be the target itself; name other images, or leave --target out"
        )
    return is_new


def _check_single_label(images: Images) -> None:
    if images.is_multi_label:
        raise InputError(
            "images with several labels cannot be selected by class; give a table with one label "
            "per image, or --no-multi-label"
        )


def _read_data(
    rows: Sequence[Row], classes: tuple[str, ...], encoder: Embeds, store: Store
) -> Data:
    index = {name: i for i, name in enumerate(classes)}
    y = np.array([index.get(str(row.label), -1) if row.label else -1 for row in rows], np.int64)
    x = store.get(encoder.space, [row.digest for row in rows])
    return Data(x, y, classes, group=number_row_groups(rows))


def _format_listing(images: Images, result: SelectionResult) -> bytes:
    """Return a line per training image: its rank and score, and why it is not kept."""
    scores = result.selection.scores
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    place = {(row.path, row.digest): i for i, row in enumerate(result.rows)}
    kept = set(result.selection.kept.tolist())
    formatter = CsvFormatter()
    lines = [formatter.format(COLUMNS)]
    for position, row in enumerate(images.rows):
        if row.split != "train" or row.status == "ignored":
            continue
        i = place.get((row.path, row.digest))
        why = row.reason or ("no label" if row.label is None else "cannot be read")
        cells: tuple[Any, ...] = ("", "", "no", why)
        if position in result.copies:
            why, other = result.copies[position]
            cells = ("", "", "no", f"{why}: {other}")
        elif i is not None:
            is_kept = i in kept
            why = "" if is_kept else "less useful"
            cells = (rank[i], f"{scores[i]:.6g}", "yes" if is_kept else "no", why)
        lines.append(formatter.format((row.path, row.digest, row.label or "", *cells)))
    return "".join(lines).encode("utf-8", "surrogateescape")
