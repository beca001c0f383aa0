"""`ilk finetune`: tune a pretrained network on labelled images, if that pays."""

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
    from ilk.finetuning.result import Candidate, FinetuneResult

POSITIVE = click.IntRange(min=1)


@click.command()
@click.argument("source")
@click.option("--out", required=True, help="Folder for the tuned network.")
@click.option(
    "--encoder",
    "encoder_name",
    default="efficientnet-lite0",
    show_default=True,
    help="Encoder whose network is tuned, such as timm/NAME or clip/ORG/NAME.",
)
@click.option(
    "--layers",
    multiple=True,
    metavar="N|all",
    help="Number of last blocks to tune, or all; may be repeated, and the validation part chooses "
    "[default: 2, or all with --peft].",
)
@click.option(
    "--peft",
    "wrappers",
    multiple=True,
    metavar="WRAPPER",
    help="Parameter-efficient tuning: train a wrapper instead of the weights, such as "
    "'LoRA(rank=8)', Adapter, SVFit or BitFit; may be repeated.",
)
@click.option(
    "--start-from",
    metavar="tuned:OLD",
    help="Start from the encoder's weights plus the weight changes that tuning made to an older "
    "version of it.",
)
@click.option(
    "--updates",
    type=POSITIVE,
    help="Maximum number of optimizer updates [default: 4 epochs, but between 40 and 600].",
)
@click.option(
    "--batch-size",
    type=click.IntRange(min=2),
    default=32,
    show_default=True,
    help="Images per update.",
)
@click.option(
    "--lr",
    type=FiniteRange(0, 10, min_open=True, max_open=True),
    help="Peak learning rate of the last layer [default: 5e-4 for blocks, 1e-4 for all, or the "
    "wrapper's own].",
)
@click.option(
    "--layer-decay",
    type=FiniteRange(0, 1, min_open=True),
    default=0.9,
    show_default=True,
    help="Factor by which the learning rate falls from each layer to the one before it.",
)
@click.option(
    "--flip/--no-flip",
    default=True,
    show_default=True,
    help="Flip images horizontally at random; wrong for digits.",
)
@click.option(
    "--hold-out",
    type=FiniteRange(0, 0.9),
    help="Fraction of the images that is not trained on: the result is judged on them, and `ilk "
    "fit` can compare it with other encoders on them [default: 0.2, or more if that is fewer than "
    "50 images].",
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
    layers: tuple[str, ...],
    wrappers: tuple[str, ...],
    start_from: str | None,
    updates: int | None,
    batch_size: int,
    lr: float | None,
    layer_decay: float,
    flip: bool,
    hold_out: float | None,
    force: bool,
    seed: int,
    intake: IntakeOptions,
    device: str,
    runtime: str,
) -> Result:
    """Tune the network of an encoder on the labelled images of SOURCE and write it to OUT.

    By default the last two blocks are trained, starting from the predictions of the frozen network;
    --layers and --peft choose other parts. A validation part stops the training early and chooses,
    by log loss, between the variants and the frozen network. The tuned network is kept if it is
    better on held-out images. Use it with `--encoder tuned:OUT` in `ilk fit`, `ilk search` and
    other commands.

    The frozen layers are computed once per image. The val and test splits are left out. If
    interrupted, the same command resumes.
    """
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.cli.output_folder import hold
    from ilk.core.errors import InputError
    from ilk.core.progress import terminal_progress
    from ilk.encode import encode_and_refuse
    from ilk.finetuning.base import open_trainable
    from ilk.finetuning.carry_over import carry_over
    from ilk.finetuning.config import FinetuneConfig
    from ilk.finetuning.folder import check_keeps_base, check_network_folder
    from ilk.finetuning.from_images import finetune_images
    from ilk.store import Store

    config = FinetuneConfig(
        layers,
        wrappers,
        updates,
        batch_size=batch_size,
        lr=lr,
        layer_decay=layer_decay,
        flip=flip,
        seed=seed,
    )
    folder = check_outside_sources(Path(out), source)
    hold(folder, check_network_folder)
    store = Store()
    images = intake.read_images(source, store).select_split("train")
    images.check_not_empty()
    base = open_trainable(encoder_name, images, device, runtime)
    check_keeps_base(folder, base)
    if start_from is not None:
        if wrappers:
            raise InputError(
                "--start-from carries changes of weights over, and --peft changes none; leave out "
                "one of the two"
            )
        old = open_trainable(start_from, images, device, runtime)
        check_keeps_base(folder, old)
        base = carry_over(old, base, folder)
    images = encode_and_refuse(images, [base], store, progress=terminal_progress(), log=click.echo)
    if images.refused:
        show_intake(images)
    result = finetune_images(
        images,
        base,
        store,
        config,
        folder,
        hold_out=hold_out,
        force=force,
        progress=terminal_progress(),
    )
    _show_candidates(result)
    for note in result.notes:
        print_note(note)
    if result.is_written:
        words = ("ilk", "fit", source, "--encoder", "default", "--encoder", f"tuned:{folder}")
        click.echo(f"network    {folder}")
        click.echo(f"next       {escape_line(shlex.join(words))} --out MODEL")
    return Result(result.to_json())


def _show_candidates(result: FinetuneResult) -> None:
    """Print the frozen network and each tuned variant, with what it cost."""
    rows = [
        _make_row(candidate, i == result.chosen, result)
        for i, candidate in enumerate(result.candidates)
    ]
    head = (
        *("network", "val. log loss", "val. accuracy"),
        *("log loss", "accuracy", "parameters", "memory", "time"),
    )
    print_table(head, rows)
    click.echo(
        "log loss and accuracy of logistic regression on the features, on the validation part "
        "(val.) and on held-out images; * is chosen by the log loss of the validation part (a "
        "tuned "
        f"network only if it is better by more than one standard error); {result.n_train:,} images "
        f"for training, {result.n_validation:,} for validation, {result.n_held_out:,} held out"
    )


def _make_row(candidate: Candidate, is_chosen: bool, result: FinetuneResult) -> tuple[str, ...]:
    from ilk.finetuning.judge import measure_accuracy

    held_out, log_loss = "", ""
    if candidate.held_out is not None:
        found = measure_accuracy(candidate.held_out, result.groups)
        held_out = str(found)
        log_loss = f"{-candidate.held_out.score:z.3f}"
    return (
        f"{candidate.name} *" if is_chosen else candidate.name,
        f"{-candidate.validation.score:z.3f}",
        f"{candidate.validation.is_correct.mean():.3f}",
        log_loss,
        held_out,
        f"{candidate.n_trained:,}" if candidate.n_trained else "",
        f"{candidate.n_bytes / 2**20:,.0f} MB" if candidate.n_bytes else "",
        f"{candidate.seconds:,.0f} s" if candidate.seconds else "",
    )
