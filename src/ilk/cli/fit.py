"""`ilk fit`: labelled images in, a model folder out."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from pathlib import Path

import click

from ilk.cli.options import Intake, intake_options, network_options


@click.command()
@click.argument("source")
@click.option("--out", required=True, help="Folder for the model, its leaderboard and report.")
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    help="Take this encoder; may be repeated; `default` stands for the good ones at hand.",
)
@click.option(
    "--classifier",
    "classifiers",
    multiple=True,
    help="Put this diffusion classifier beside them: diffusion:PATH, or diffusion:hf-hub:ORG/NAME.",
)
@click.option(
    "--method", "methods", multiple=True, help="Try this method, such as 'GDA(shrink=0.2)'."
)
@click.option("--folds", default=5, show_default=True, help="Parts of the cross-validation.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--coverage", default=0.9, show_default=True, help="How often a set must hold the truth."
)
@click.option(
    "--false-alarm", default=0.05, show_default=True, help="Share of known images called unknown."
)
@click.option(
    "--select", default="accuracy", show_default=True, help="accuracy, macro_accuracy or log_loss."
)
@click.option(
    "--classes", default="", help="Names to choose from without any label (zero-shot): cat,dog."
)
@click.option(
    "--prompt",
    "prompts",
    multiple=True,
    help="Sentence for text encoders [default: a photo of a {}.].",
)
@click.option(
    "--descriptions",
    help="Text file, a line a sentence that names no class; those that tell classes apart serve.",
)
@click.option("--precision", default="float32", show_default=True, help="float32 or bfloat16.")
@intake_options
@network_options
def command(
    source: str,
    out: str,
    encoders: tuple[str, ...],
    classifiers: tuple[str, ...],
    methods: tuple[str, ...],
    folds: int,
    seed: int,
    coverage: float,
    false_alarm: float,
    select: str,
    classes: str,
    prompts: tuple[str, ...],
    descriptions: str | None,
    precision: str,
    intake: Intake,
    device: str,
    runtime: str,
) -> None:
    """Learn the kinds in SOURCE and write a model folder.

    SOURCE is a folder with one sub-folder a class (train/, val/ and test/ of such folders too), a
    CSV, TSV, Parquet or JSONL table, a folder with metadata.csv, or a list of paths.
    """
    from ilk.artefact import stamp
    from ilk.claimed import claim
    from ilk.cli.options import sentences, show_intake
    from ilk.cli.tables import show_leaderboard
    from ilk.fitting import PROMPTS, Plan, fit
    from ilk.progress import told
    from ilk.store import Store

    plan = Plan(
        encoders=encoders,
        classifiers=classifiers,
        methods=methods,
        folds=folds,
        seed=seed,
        coverage=coverage,
        false_alarm=false_alarm,
        select=select,
        classes=tuple(name.strip() for name in classes.split(",") if name.strip()),
        prompts=prompts or PROMPTS,
        descriptions=sentences(descriptions) if descriptions else (),
        device=device,
        runtime=runtime,
        precision=precision,
    )
    home = claim(Path(out))
    if stamp(home):
        click.echo(f"· {home} holds a classifier, which this one replaces once it is there")
    store = Store()
    images = intake.read(source, store)
    classifier = fit(images, plan, store=store, progress=told(), say=lambda line: click.echo(line))
    assert classifier.evidence is not None, "fit gives its evidence"
    typed = shlex.join(("ilk", *(click.get_current_context().obj or ())))
    evidence = replace(classifier.evidence, command=typed, source=source)
    replace(classifier, evidence=evidence).save(home)
    if evidence.images.refused:
        show_intake(evidence.images)
    show_leaderboard([asdict(result) for result in evidence.results])
    for note in evidence.notes:
        click.echo(f"· {note}")
    click.echo(f"model  {home}\nreport {home / 'report.html'}")
