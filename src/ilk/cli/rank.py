"""`ilk rank`: score encoders on labelled images without training a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import (
    add_encoders_option,
    add_network_options,
    add_resize_option,
    add_seed_option,
)
from ilk.cli.output import Result, add_json_option, print_note, print_table, show_intake
from ilk.cli.rank_scores import (
    SORT_SCORE,
    build_tables,
    compute_agreement,
    measure_accuracy,
    score_encoders,
)
from ilk.cli.source_options import add_intake_options, add_single_label_option

if TYPE_CHECKING:
    from ilk.core.capabilities import Embeds
    from ilk.images import Images
    from ilk.ranking import EncoderScores

MIN_ENCODERS = 10  # encoders below which Kendall's tau is unreliable


@click.command()
@click.argument("source")
@add_encoders_option
@add_resize_option
@click.option(
    "--max-images",
    default=2000,
    show_default=True,
    help="Maximum number of images to score on, sampled at random.",
)
@click.option(
    "--accuracy",
    "with_accuracy",
    is_flag=True,
    help="Also measure the cross-validated accuracy and how well the scores agree with it.",
)
@click.option("--out", help="Write the scores to this JSON file.")
@add_seed_option
@add_single_label_option
@add_intake_options
@add_network_options
@add_json_option
def command(
    source: str,
    encoders: tuple[str, ...],
    resize: str,
    max_images: int,
    with_accuracy: bool,
    out: str | None,
    seed: int,
    intake: IntakeOptions,
    device: str,
    runtime: str,
) -> Result:
    """Score encoders on the labelled images of SOURCE without training a classifier.

    Higher is better in every column: LogME (evidence of a linear model), H-score (variance between
    classes), PARC (whether images with correlated features are of the same class), TMI (entropy
    within classes, which depends on the number of features), and LEEP and NCE for networks with a
    classifier of their own. Rows are sorted by LogME, which predicts the accuracy of frozen
    features best (`ilk bench which_encoder`). Without --encoder, the default encoders of `ilk fit`
    are scored.
    """
    from ilk.artifacts.output_files import check_output_file
    from ilk.cli.output import to_plain
    from ilk.core.atomic_write import write_atomically
    from ilk.core.plain_json import encode_json
    from ilk.core.progress import terminal_progress
    from ilk.encode import encode_and_refuse
    from ilk.fitting.leakage import check_unseen
    from ilk.store import Store

    if out:
        check_output_file(Path(out), (".json",), [source])
    store = Store()
    images = intake.read_images(source, store)
    sample = _sample_images(images, max_images, seed)  # checks its input before any encoding
    networks = _resolve_encoders(encoders, images, resize, device, runtime)
    sample = encode_and_refuse(sample, networks, store, progress=terminal_progress())
    if images.refused or sample.refused:
        show_intake(images.refuse({r.digest: (r.reason, r.detail) for r in sample.refused}))
    check_unseen(networks, sample.used, "its scores on them would be too high")
    tables = build_tables(networks, sample, store)
    encoder_scores = score_encoders(networks, tables)
    accuracy = measure_accuracy(tables, seed) if with_accuracy else {}
    agreement = compute_agreement(encoder_scores, accuracy)
    n_images = len(next(iter(tables.values())))
    _show_scores(encoder_scores, accuracy, agreement, n_images)
    listing = [{**asdict(s), "accuracy": accuracy.get(s.encoder)} for s in encoder_scores]
    report = to_plain({"images": n_images, "encoders": listing, "agreement": agreement})
    if out:
        write_atomically(Path(out), encode_json(report))
    return Result(report)


def _resolve_encoders(
    names: Sequence[str], images: Images, resize: str, device: str, runtime: str
) -> list[Embeds]:
    """Return the named encoders; `default`, or no name, stands for the default encoders.

    With `resize` of `auto`, they are followed by letterboxed variants where a crop cuts off much.

    Raises:
        UnknownName: There is no such encoder.
        InputError: An encoder is a classifier and gives no features.
    """
    from ilk.core.capabilities import ScoresClasses
    from ilk.core.errors import InputError
    from ilk.encoders import choose_encoders, resolve_encoder
    from ilk.encoders.variants import check_variants
    from ilk.fitting.variants import add_letterboxed, apply_settings

    check_variants(resize, 1)
    encoders: list[Embeds] = []
    for name in dict.fromkeys(names or ["default"]):
        if name == "default":
            defaults, message = choose_encoders(images, device=device, runtime=runtime)
            click.echo(message)
            encoders += defaults
            continue
        encoder = resolve_encoder(name, images=images, device=device, runtime=runtime)
        if isinstance(encoder, ScoresClasses):
            raise InputError(
                f"{name} is a classifier and gives no features to rank; "
                "compare it with: ilk fit DIR --classifier diffusion:PATH"
            )
        encoders.append(encoder)
    encoders = apply_settings(encoders, resize, 1, click.echo)
    if resize == "auto":
        encoders += add_letterboxed(encoders, images.used, click.echo)
    return list({encoder.name: encoder for encoder in encoders}.values())


def _sample_images(images: Images, max_images: int, seed: int) -> Images:
    """Sample at most `max_images` labelled images, without replacement.

    Raises:
        InputError: `max_images` is below 2, or there are not two classes.
    """
    import numpy as np

    from ilk.core.errors import InputError
    from ilk.fitting.config import FitConfig
    from ilk.fitting.split import split_images

    if max_images < 2:
        raise InputError(f"--max-images is {max_images}; an encoder is scored on at least 2 images")
    train = split_images(images, FitConfig()).train
    order = np.random.default_rng(seed).permutation(len(train))[:max_images]
    return replace(images, rows=tuple(train[i] for i in np.sort(order)))


def _show_scores(
    encoder_scores: Sequence[EncoderScores],
    accuracy: Mapping[str, float],
    agreement: Mapping[str, Mapping[str, Any]],
    n_images: int,
) -> None:
    """Print one row per encoder, and Kendall's tau if the accuracy was measured."""
    names = sorted(encoder_scores[0].scores, key=lambda name: name != SORT_SCORE)
    rows = []
    for s in encoder_scores:
        cells = [_format_cell(s.scores[name]) for name in names]
        if accuracy:
            cells.append(_format_cell(accuracy.get(s.encoder)))
        rows.append((s.encoder, f"{s.n_features:,}", *cells))
    if agreement:
        taus = [_format_cell(agreement[name]["tau"], "+.2f") for name in names]
        rows.append(("Kendall's tau with accuracy", "", *taus, ""))
    print_table(("encoder", "features", *names, *(["accuracy"] if accuracy else [])), rows)
    click.echo(f"on {n_images:,} labelled images, sorted by {SORT_SCORE}; – marks undefined scores")
    if accuracy and len(encoder_scores) < MIN_ENCODERS:
        print_note(
            f"Kendall's tau is unreliable for so few encoders; compare {MIN_ENCODERS} or more"
        )


def _format_cell(value: float | None, spec: str = ".3f") -> str:
    return "–" if value is None else format(value, spec)
