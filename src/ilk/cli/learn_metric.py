"""`ilk learn-metric`: learn an embedding in which images of one class lie close together."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.finite_range import FiniteRange
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_force_option, add_network_options, add_seed_option
from ilk.cli.output import Result, add_json_option, print_note, print_table, show_intake
from ilk.cli.source_options import add_intake_options, add_single_label_option
from ilk.core.terminal_text import escape_line

if TYPE_CHECKING:
    from ilk.metric_learning.learn import LearnedEmbedding

POSITIVE = click.IntRange(min=1)


@click.command()
@click.argument("source")
@click.option("--out", required=True, help="Folder for the embedding.")
@click.option(
    "--encoder",
    "encoder_name",
    default="efficientnet-lite0",
    show_default=True,
    help="Encoder whose features are mapped to the embedding.",
)
@click.option(
    "--loss",
    default="SupCon",
    show_default=True,
    help="Loss, such as SupCon, MultiSimilarity, ProxyAnchor, ArcFace or SemiHardTriplet; LDA and "
    "Whitening are computed in closed form.",
)
@click.option(
    "--width",
    type=POSITIVE,
    default=64,
    show_default=True,
    help="Number of features of the embedding.",
)
@click.option(
    "--hidden",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Hidden units between features and embedding; 0 makes it linear.",
)
@click.option(
    "--network",
    default="head",
    show_default=True,
    help="Network to train: head, on features, or convolutional, on pixels (with --encoder "
    "pixels/32x32x3).",
)
@click.option(
    "--updates",
    type=POSITIVE,
    default=200,
    show_default=True,
    help="Number of optimizer updates of each training.",
)
@click.option(
    "--hold-out",
    type=FiniteRange(0, 0.9),
    help="Fraction of the images that is not trained on: `ilk fit` can compare the embedding with "
    "other encoders on them [default: 0.2, or 0 if that is fewer than 50 images].",
)
@click.option(
    "--compatible-with",
    default="",
    help="Folder of an older embedding, learned with --loss DSimplex, that the new one extends: "
    "queries with the new one can then search indexes of the old one, if a test shows that it "
    "works.",
)
@add_force_option
@add_seed_option
@add_single_label_option
@add_intake_options
@add_network_options
@add_json_option
def command(
    source: str,
    out: str,
    encoder_name: str,
    loss: str,
    width: int,
    hidden: int,
    network: str,
    updates: int,
    hold_out: float | None,
    compatible_with: str,
    force: bool,
    seed: int,
    intake: IntakeOptions,
    device: str,
    runtime: str,
) -> Result:
    """Learn an embedding of the labelled images of SOURCE (metric learning) and write it to OUT.

    In the embedding, images of one class lie close together, and so should those of classes that
    are added later. Margin and learning rate are chosen on classes held out of the training
    classes, and the embedding is judged on classes that were used neither for training nor for that
    choice. It is kept if it retrieves them better than the unchanged features. Use it with
    `--encoder tuned:OUT` in `ilk fit`, `ilk search` and other commands.

    The val and test splits are left out. If interrupted, the same command resumes.
    """
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.cli.output_folder import hold
    from ilk.core.progress import terminal_progress
    from ilk.encode import encode_and_refuse
    from ilk.metric_learning.config import LearningConfig
    from ilk.metric_learning.folder import check_tuned_folder
    from ilk.metric_learning.from_images import learn_from_images, open_base
    from ilk.metric_learning.predecessor import Predecessor
    from ilk.store import Store

    config = LearningConfig(loss, width, hidden, network, updates, seed)
    folder = check_outside_sources(Path(out), source)
    hold(folder, check_tuned_folder)
    store = Store()
    images = intake.read_images(source, store).select_split("train")
    images.check_not_empty()
    base = open_base(encoder_name, images, device, runtime)
    predecessor = None
    if compatible_with:
        predecessor = Predecessor.open(Path(compatible_with), base)
        predecessor.check_folder(folder)
        config = predecessor.adapt(config)
    images = encode_and_refuse(images, [base], store, progress=terminal_progress(), log=click.echo)
    if images.refused:
        show_intake(images)
    result = learn_from_images(
        images,
        base,
        store,
        config,
        folder,
        hold_out=hold_out,
        force=force,
        predecessor=predecessor,
        progress=terminal_progress(),
    )
    _show_scores(result.learned)
    for note in result.notes:
        print_note(note)
    if result.is_written:
        words = ("ilk", "fit", source, "--encoder", "default", "--encoder", f"tuned:{folder}")
        click.echo(f"embedding  {folder}")
        click.echo(f"next       {escape_line(shlex.join(words))} --out MODEL")
    return Result(result.to_json())


def _show_scores(learned: LearnedEmbedding) -> None:
    """Print how well unseen classes are retrieved by each embedding."""
    from ilk.metric_learning.learn import LEARNED, MAP_AT_R

    others = [name for name in learned.scores[MAP_AT_R] if name not in (LEARNED, learned.loss)]
    rows: list[tuple[str, ...]] = []
    for name in (LEARNED, *others):
        cells = [str(learned.scores[metric][name]) for metric in learned.scores]
        gain = "" if name == LEARNED else f"{learned.gains[MAP_AT_R][name]:+.3f}"
        rows.append((learned.loss if name == LEARNED else name, *cells, gain))
    print_table(("embedding", *learned.scores, f"gain over it, {MAP_AT_R}"), rows)
    click.echo(
        f"gain over it: {learned.loss} minus the embedding of that row; measured on "
        f"{learned.n_queries:,} images of {learned.n_classes} held-out classes; intervals over "
        "classes"
    )
