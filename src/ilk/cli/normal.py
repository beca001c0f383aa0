"""`ilk normal`: learn what is normal from images of nothing else, and say what is odd."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.options import network_options

if TYPE_CHECKING:
    from ilk.anomaly import AnomalyDetector, Oddness
    from ilk.encoders import Embeds
    from ilk.images import Images
    from ilk.store import Store

HEADINGS = ("path", "score", "threshold", "verdict", "error")


@click.command()
@click.argument("source")
@click.option("--out", help="Folder for the detector learnt from SOURCE.")
@click.option(
    "--encoder", default="", help="[default: a pretrained network where one is at hand, else hog]"
)
@click.option("--score", "asked", multiple=True, help="Image or folder to judge; may be repeated.")
@click.option("--rows", default="-", show_default=True, help="CSV file for the verdicts, or -.")
@click.option(
    "--false-alarm", type=float, help="Share of normal images called odd [default: 0.01]."
)
@network_options
def command(
    source: str,
    out: str | None,
    encoder: str,
    asked: tuple[str, ...],
    rows: str,
    false_alarm: float | None,
    device: str,
    runtime: str,
) -> None:
    """Learn what is normal from the images in SOURCE, or judge by a detector SOURCE.

    Every image in a folder SOURCE is taken as normal, whatever sub-folder it lies in. With --out
    the detector is written; with --score images are judged, odd or normal. A SOURCE that is a
    detector written before goes on judging: ilk normal detector/ --score new/ --rows new.csv
    """
    from ilk.anomaly import load
    from ilk.artefact import DETECTOR, write_file
    from ilk.claimed import claim
    from ilk.errors import InputError
    from ilk.methods.gaussian_anomaly import checked_rate
    from ilk.progress import told
    from ilk.store import Store

    if not out and not asked:
        raise InputError("nothing was asked for; give --out for a detector, --score to judge, both")
    if false_alarm is not None:
        checked_rate(false_alarm)
    store = Store()
    if (Path(source) / "model.json").exists():
        if out or encoder:
            raise InputError(f"{source} is a detector already; --out and --encoder are for images")
        held = load(Path(source), device=device, runtime=runtime)
    else:
        home = claim(Path(out), DETECTOR) if out else None
        held = _learnt(source, encoder, store, (device, runtime))
    if false_alarm is not None:
        held = replace(held, false_alarm=false_alarm)
    limit = _threshold(held)
    if out and home:
        held.save(home)
        click.echo(f"detector {home}", err=True)
    if not asked:
        return
    found = held.judge(asked, store, limit, told())
    text = _table(found, limit)
    if rows == "-":
        click.echo(text, nl=False)
    else:
        write_file(Path(rows), text.encode("utf-8", "surrogateescape"))
    if failed := sum(one.row.status != "used" for one in found):
        click.echo(f"ilk: {failed:,} inputs could not be read", err=True)
        raise click.exceptions.Exit(1)


def _learnt(source: str, name: str, store: Store, where: tuple[str, str]) -> AnomalyDetector:
    from ilk.anomaly import AnomalyDetector
    from ilk.encode import fill
    from ilk.images import read
    from ilk.progress import told

    images = read(source, verify=False, store=store, progress=told())
    encoder = _encoder(name, images, *where)
    images = images.refuse(fill(images, [encoder], store, progress=told()))
    held = AnomalyDetector.learnt(images, encoder, store)
    left = f"; {len(images.refused):,} files were refused" if images.refused else ""
    click.echo(f"normal by {len(images.used):,} images through {encoder.name}{left}", err=True)
    return held


def _encoder(name: str, images: Images, device: str, runtime: str) -> Embeds:
    """The one named, or of the defaults the last: a pretrained network where one is at hand."""
    from ilk.encoders import defaults, resolve

    if name:
        return resolve(name, images=images, device=device, runtime=runtime)
    return defaults(images, device=device, runtime=runtime)[0][-1]


def _threshold(held: AnomalyDetector) -> float:
    """The score beyond which an image is odd; says where there is none."""
    from ilk.methods.gaussian_anomaly import NEVER

    rate = held.false_alarm
    threshold = held.normal.threshold(rate)
    if threshold == NEVER:
        needed, had = ceil(round(1 / rate - 1, 9)), len(held.normal.held)
        click.echo(
            f"ilk: a false-alarm rate of {rate:.2%} needs {needed:,} normal images and there were "
            f"{had:,}: nothing can be called odd, and verdicts stay empty; see the scores, or pass "
            f"--false-alarm {ceil(1e3 / (had + 1)) / 1e3:.3f} or more",
            err=True,
        )
    return threshold


def _table(found: Sequence[Oddness], threshold: float) -> str:
    """Verdicts as CSV, a row an input."""
    from ilk.classifier import told as reason
    from ilk.methods.gaussian_anomaly import NEVER

    limit = "" if threshold == NEVER else f"{threshold:.6f}"
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(HEADINGS)
    for one in found:
        if one.row.status != "used":
            lines.writerow((one.row.path, "", limit, "", reason(one.row)))
        else:
            verdict = "" if threshold == NEVER else "odd" if one.odd else "normal"
            lines.writerow((one.row.path, f"{one.score:.6f}", limit, verdict, ""))
    return text.getvalue()
