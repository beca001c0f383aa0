"""`ilk adapt`: adapt a model folder to the class priors where it is used."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_fetch_option, add_force_option, add_network_options
from ilk.cli.output import Result, add_json_option, print_note, print_table
from ilk.cli.source_options import add_group_options, add_source_options, add_strict_option

if TYPE_CHECKING:
    from ilk.artifacts.classifier import Classifier
    from ilk.updates.prior_estimate import PriorEstimate

MAX_CLASSES = 20  # classes in the printed table
MAX_CHANGES = 3  # classes in the summary


@click.command()
@click.argument("model")
@click.argument("source")
@click.option("--out", required=True, help="Folder for the adapted model.")
@add_force_option
@add_group_options
@add_strict_option
@add_source_options
@add_fetch_option
@add_network_options
@add_json_option
def command(
    model: str,
    source: str,
    out: str,
    force: bool,
    intake: IntakeOptions,
    device: str,
    runtime: str,
    fetch: bool,
) -> Result:
    """Adapt MODEL to the class priors estimated from the unlabelled images of SOURCE.

    SOURCE holds images from where the model is used: a folder (the names of its sub-folders are
    ignored), a table or list of paths, an archive, a quoted pattern, or - for standard input. The
    method assumes that only the class priors have changed, and that each class looks as before.
    """
    from ilk.artifacts.load_classifier import load
    from ilk.artifacts.model_folder import read_digest
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.cli.encode_images import encode_or_exit
    from ilk.cli.output_folder import hold_model, hold_output_folder, is_same_folder
    from ilk.images import number_row_groups
    from ilk.maths.folds import has_shared_groups
    from ilk.store import Store
    from ilk.updates.adapt_priors import adapt_priors
    from ilk.updates.side_files import SideFiles

    if is_same_folder(out, Path(model)):
        hold_model(Path(model))
    digest = read_digest(Path(model))
    classifier, store = load(model, device=device, runtime=runtime, fetch=fetch), Store()
    side_files = replace(SideFiles.read(Path(model)), digest=digest)
    out_folder = hold_output_folder(
        check_outside_sources(Path(out), source), source_model=Path(model)
    )
    images = intake.read_unlabelled(source, store, classifier.value_ranges)
    images = encode_or_exit(
        images, classifier.encoder, store, strict=intake.strict, ranges=classifier.value_ranges
    )
    x = store.get(classifier.encoder.space, [row.digest for row in images.used])
    group = number_row_groups(images.used)
    adapted, estimate = adapt_priors(
        classifier, x, force=force, groups=group if has_shared_groups(group) else None
    )
    summary = summarize(estimate, adapted)
    side_files.check_unchanged()
    replace(adapted, side_files=partial(side_files.render, summary)).save(out_folder)
    show_priors(estimate, adapted.classes)
    print_note(summary)
    click.echo(f"model  {out_folder}")
    adapted_flag = adapted.class_priors is not None
    value = {"model": out_folder, "summary": summary, "adapted": adapted_flag}
    return Result({**value, "classes": adapted.classes, **estimate.to_json()})


def summarize(estimate: PriorEstimate, adapted: Classifier) -> str:
    """Say in one sentence what was estimated and whether the model was adapted."""
    date = adapted.metadata["adaptation"]["date"]
    gain, half_width = (100 * value for value in estimate.accuracy_gain)
    if adapted.class_priors is None and estimate.has_shifted:
        return (
            f"{date}: the class priors among {estimate.n_images:,} images differ from those of the "
            f"model, but adapting to them is not certain to help ({gain:+.1f} ± {half_width:.1f} "
            "points of accuracy), so predictions are unchanged; give more images, or pass --force."
        )
    if adapted.class_priors is None:
        return (
            f"{date}: the class priors among {estimate.n_images:,} images do not differ "
            "significantly from those of the model, so predictions are unchanged."
        )
    order = (-abs(estimate.target - estimate.source)).argsort()[:MAX_CHANGES]
    changes = ", ".join(
        f"{adapted.classes[c]} {estimate.target[c]:.1%} (before: {estimate.source[c]:.1%})"
        for c in order
    )
    return (
        f"{date}: adapted to the class priors among {estimate.n_images:,} images: {changes}; "
        f"expected change in accuracy there: {gain:+.1f} ± {half_width:.1f} points."
    )


def show_priors(estimate: PriorEstimate, classes: tuple[str, ...]) -> None:
    """Print the class priors before and after, the most changed first."""
    order = (-abs(estimate.target - estimate.source)).argsort()
    low, high = estimate.confidence_interval
    print_table(
        ("class", "before", "estimate", "95 % interval", "conservative", "BBSE"),
        [
            (
                classes[c],
                f"{estimate.source[c]:.3f}",
                f"{estimate.target[c]:.3f}",
                f"[{low[c]:.3f}, {high[c]:.3f}]",
                f"{estimate.safe_target[c]:.3f}",
                f"{estimate.bbse_target[c]:.3f}",
            )
            for c in order[:MAX_CLASSES]
        ],
    )
    if len(classes) > MAX_CLASSES:
        click.echo(f"… and {len(classes) - MAX_CLASSES} more classes, see model.json")
    print_note(
        "conservative: the point of the interval nearest to the prior before, which the model is "
        "adapted to; BBSE: black-box shift estimation, for comparison"
    )
