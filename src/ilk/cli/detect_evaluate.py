"""`ilk detect evaluate`: score a detector on labelled images, and its maps on masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.detect_threshold import compute_threshold
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_fetch_option, add_network_options
from ilk.cli.output import Result, add_json_option, print_note, print_table
from ilk.cli.source_options import add_source_options

if TYPE_CHECKING:
    from ilk.artifacts.anomaly_evaluation import AnomalyEvaluation, AnomalyScores
    from ilk.artifacts.detector import AnomalyDetector
    from ilk.images import Images
    from ilk.store import Store


@click.command(short_help="Score a detector on labelled images.")
@click.argument("detector")
@click.argument("source")
@click.option(
    "--normal",
    multiple=True,
    help="Name of a folder of normal images; may be repeated [default: good, normal, ok].",
)
@click.option(
    "--masks",
    help="Folder of masks, KIND/NAME_mask.png or KIND/NAME.png [default: ground_truth in or "
    "beside SOURCE].",
)
@add_source_options
@add_fetch_option
@add_network_options
@add_json_option
def evaluate(
    detector: str,
    source: str,
    normal: tuple[str, ...],
    masks: str | None,
    intake: IntakeOptions,
    device: str,
    runtime: str,
    fetch: bool,
) -> Result:
    """Score the detector in the folder DETECTOR on the labelled images of SOURCE.

    SOURCE has a folder of normal images and one for each kind of anomaly, such as test/good and
    test/scratch; if it has splits, only the test split is used. The area under the ROC curve
    (AUROC) is computed over images and, if the detector compares patches and there are masks of the
    anomalies, also over pixels.
    """
    from ilk.artifacts.anomaly_evaluation import NORMAL_NAMES, AnomalyScores
    from ilk.artifacts.anomaly_masks import GROUND_TRUTH, find_mask_folder
    from ilk.artifacts.detector import load
    from ilk.core.errors import InputError
    from ilk.images import escape_path
    from ilk.images.sources.exclude import OwnPattern
    from ilk.store import Store

    if masks is not None and not Path(masks).is_dir():
        raise InputError(f"there is no folder of masks {escape_path(masks)}")
    folder = Path(masks) if masks is not None else find_mask_folder(Path(source))
    loaded, store = load(Path(detector), device=device, runtime=runtime, fetch=fetch), Store()
    if (Path(source) / GROUND_TRUTH).is_dir():
        intake = replace(intake, exclude=(*intake.exclude, OwnPattern(GROUND_TRUTH)))
    images = intake.read_images(source, store, ranges=loaded.value_ranges)
    if any(row.split == "test" for row in images.used):
        images = images.select_split("test")
    names = frozenset(name.casefold() for name in normal or NORMAL_NAMES)
    threshold = compute_threshold(
        loaded, "no image can be flagged, and the fractions of flagged images are left out"
    )
    scores = AnomalyScores(names, folder if loaded.patches is not None else None)
    n_unread = _add_scores(scores, loaded, replace(images, rows=images.used), store, threshold)
    evaluation = scores.evaluate(threshold)
    if n_unread:
        print_note(f"{n_unread:,} images could not be read and do not count")
    if folder is not None and loaded.patches is None:
        print_note(f"{loaded.method} scores images as a whole, so the masks are not compared")
    elif folder is not None and evaluation.n_masks < evaluation.n_anomalous:
        n_without = evaluation.n_anomalous - evaluation.n_masks
        print_note(
            f"{n_without:,} of {evaluation.n_anomalous:,} anomalous images have no mask in "
            f"{escape_path(folder)}, so their pixels do not count; the mask of scratch/007.png is "
            "scratch/007_mask.png or scratch/007.png there"
        )
    elif folder is not None and evaluation.pixel_auroc is None:
        print_note(f"the masks in {escape_path(folder)} are all black, so no pixel is anomalous")
    _show(evaluation)
    return Result(
        {"method": loaded.method, "false_alarm": loaded.false_alarm, "scores": evaluation}
    )


def _add_scores(
    scores: AnomalyScores,
    detector: AnomalyDetector,
    images: Images,
    store: Store,
    threshold: float | None,
) -> int:
    """Add the score of each image, and its map where masks are; return how many were not read."""
    from ilk.core.progress import terminal_progress

    results = detector.stream(
        images, store, threshold, terminal_progress(), maps=scores.masks is not None
    )
    n_unread = 0
    for row, result in zip(images.rows, results, strict=True):
        if result.row.status == "used":
            scores.add(result, row.label or "", images.path_of(row))
        else:
            n_unread += 1
    return n_unread


def _show(evaluation: AnomalyEvaluation) -> None:
    """Print the scores."""
    rows = [
        ("normal images", f"{evaluation.n_normal:,}"),
        ("anomalous images", f"{evaluation.n_anomalous:,}"),
        ("image AUROC", str(evaluation.image_auroc)),
    ]
    if len(evaluation.kinds) > 1:
        rows += [(f"image AUROC, {kind}", f"{v:.3f}") for kind, v in evaluation.kinds.items()]
    if evaluation.false_alarms is not None:
        rows += [
            ("normal images flagged", str(evaluation.false_alarms)),
            ("anomalous images flagged", str(evaluation.found)),
        ]
    if evaluation.pixel_auroc is not None:
        rows += [
            ("masks", f"{evaluation.n_masks:,}"),
            ("pixel AUROC", f"{evaluation.pixel_auroc:.3f}"),
            ("region overlap (AUPRO), 30 % limit", f"{evaluation.region_overlap:.3f}"),
        ]
    print_table(("metric", "value"), rows)
