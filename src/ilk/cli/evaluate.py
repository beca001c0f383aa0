"""`ilk evaluate`: score a model folder on labelled images."""

from __future__ import annotations

from pathlib import Path

import click

from ilk.cli.options import Intake, intake_options, network_options


@click.command()
@click.argument("model")
@click.argument("source")
@click.option("--out", help="Write the figures to this JSON file.")
@click.option(
    "--split", help="Only train, val or test [default: test where there is one, else all]."
)
@intake_options
@network_options
def command(
    model: str,
    source: str,
    out: str | None,
    split: str | None,
    intake: Intake,
    device: str,
    runtime: str,
) -> None:
    """Score the model folder MODEL on the labelled images of SOURCE."""
    from ilk.artefact import json_bytes, write_file
    from ilk.classifier import load
    from ilk.cli.options import show_intake
    from ilk.cli.tables import show_evaluation
    from ilk.errors import InputError
    from ilk.judged import judge
    from ilk.living.carried import fitted_on
    from ilk.progress import told
    from ilk.store import Store

    classifier = load(model, device=device, runtime=runtime)
    store = Store()
    images = intake.read(source, store)
    splits = {row.split for row in images.used}
    chosen = split or ("test" if "test" in splits else None)
    if chosen:
        if chosen not in splits:
            raise InputError(
                f"there is no {chosen} part in {source}; its parts: {', '.join(sorted(splits))}"
            )
        images = images.part(chosen)
    judged, images, notes = judge(classifier, images, store=store, progress=told())
    if images.refused:
        show_intake(images)
    learnt = fitted_on(Path(model), classifier.about.get("last_added", {}))
    if met := sum(row.digest in learnt for row in judged.rows):
        notes.append(
            f"the model was fitted on {met:,} of these {len(judged.rows):,}; on new images it is "
            "not as good"
        )
    if chosen and len(splits) > 1:
        notes.append(f"only the {chosen} part was scored; --split names another")
    show_evaluation(judged)
    for note in notes:
        click.echo(f"· {note}")
    if out:
        write_file(Path(out), json_bytes({"notes": notes, **judged.to_json()}))
