"""`ilk audit`: find labels that look wrong and measure what correcting them changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.audit_labels import (
    AuditedLabels,
    check_auditing_methods,
    cross_validate_labels,
)
from ilk.cli.audit_output import (
    list_confused_pairs,
    list_labels,
    show_effect,
    show_labels,
    write_csv,
)
from ilk.cli.csv_safe import add_csv_safe_option
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import (
    add_encoders_option,
    add_folds_option,
    add_network_options,
    add_resize_option,
    add_seed_option,
)
from ilk.cli.output import Result, add_json_option, show_intake
from ilk.cli.source_options import add_intake_options, add_single_label_option

if TYPE_CHECKING:
    from ilk.fitting.label_audit import CleaningEffect
    from ilk.trust.label_errors import LabelErrors

DEFAULT_FRACTIONS = (0.01, 0.05)


@click.command()
@click.argument("source")
@add_encoders_option
@add_resize_option
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="Method that predicts the labels; may be repeated [default: GDA].",
)
@click.option(
    "--out", default="suspects.csv", show_default=True, help="CSV file for all labels, ranked."
)
@click.option("--show", default=20, show_default=True, help="Number of labels to print.")
@click.option(
    "--fraction",
    "fractions",
    multiple=True,
    type=float,
    help="Fraction of the labels, worst first, whose removal and relabelling is tried to measure "
    "the effect; may be repeated; 0 measures nothing [default: 0.01 and 0.05].",
)
@click.option(
    "--ranking",
    default="self_confidence",
    show_default=True,
    help="Score that ranks the labels: margin, self_confidence or joint.",
)
@add_folds_option
@add_seed_option
@add_single_label_option
@add_csv_safe_option
@add_intake_options
@add_network_options
@add_json_option
def command(
    source: str,
    encoders: tuple[str, ...],
    resize: str,
    methods: tuple[str, ...],
    out: str,
    show: int,
    fractions: tuple[float, ...],
    ranking: str,
    folds: int,
    seed: int,
    intake: IntakeOptions,
    device: str,
    runtime: str,
) -> Result:
    """Rank the labels of SOURCE, most likely mislabelled first.

    The label of each image is compared with the prediction of a classifier that was trained without
    it. The accuracy after removing or relabelling the worst labels is measured, too. SOURCE is read
    as by `ilk fit`; all its splits are audited together, and no file in it is changed.
    """
    from ilk.core.progress import terminal_progress
    from ilk.fitting.config import FitConfig
    from ilk.fitting.label_audit import check_fractions, measure_cleaning
    from ilk.fitting.suspect_labels import find_suspects
    from ilk.store import Store

    out_path = _check_out_path(Path(out), Path(source))
    fractions = tuple(f for f in fractions if f) if fractions else DEFAULT_FRACTIONS
    check_fractions(fractions, ranking)
    check_auditing_methods(methods)
    config = FitConfig(encoders, methods=methods or ("GDA",), folds=folds, seed=seed)
    config = replace(config, device=device, runtime=runtime, resize=resize, views=1)
    store = Store()
    audited = cross_validate_labels(intake.read_images(source, store), config, store)
    if audited.images.refused:
        show_intake(audited.images)
    board = audited.leaderboard
    assert board.probabilities is not None, "cross_validate_labels raises if nothing was tested"
    errors = find_suspects(board.probabilities, audited.data.y, ranking)
    write_csv(out_path, audited, errors)
    show_labels(audited, errors, show, out_path)
    effect, method = None, board.winner[1]
    if fractions:
        progress = terminal_progress()
        effect = measure_cleaning(method, audited.data, board.fold, fractions, ranking, progress)
        show_effect(effect)
    click.echo(f"labels {out_path}")
    return Result({"out": out_path, **_to_json(audited, errors, effect)})


def _to_json(
    audited: AuditedLabels, errors: LabelErrors, effect: CleaningEffect | None
) -> dict[str, Any]:
    result = audited.leaderboard.results[0]
    return {
        "encoder": result.encoder,
        "method": result.method,
        "scores": result.scores,
        "labels": list_labels(audited, errors),
        "confused": list_confused_pairs(audited, errors),
        "effect": effect,
    }


def _check_out_path(out: Path, source: Path) -> Path:
    """Return `out` if it can be written and is not inside the audited folder.

    Raises:
        InputError: `out` is the source or inside it.
        OutputError: `out` cannot be written, or is a file that ilk did not write.
    """
    from ilk.artifacts.output_files import check_output_file
    from ilk.core.errors import InputError

    out_path, source_path = out.resolve(), source.resolve()
    if out_path == source_path or (source_path.is_dir() and source_path in out_path.parents):
        raise InputError(
            f"{out} is inside {source}, which an audit never changes; name another file with --out"
        )
    return check_output_file(out, (".csv",), [source])
