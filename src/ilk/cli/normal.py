"""`ilk normal`: learn what is normal from images of nothing else, and say what is odd."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.options import network_options

if TYPE_CHECKING:
    from ilk.encoders import Embeds
    from ilk.images import Images
    from ilk.methods.gaussian_anomaly import NormalGaussian
    from ilk.store import Store

FORMAT = "ilk detector"
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
    from ilk.artefact import claim, write_file
    from ilk.errors import InputError
    from ilk.store import Store

    if not out and not asked:
        raise InputError("nothing was asked for; give --out for a detector, --score to judge, both")
    store = Store()
    if (Path(source) / "model.json").exists():
        if out or encoder:
            raise InputError(f"{source} is a detector already; --out and --encoder are for images")
        held = opened(Path(source), device, runtime)
    else:
        home = claim(Path(out)) if out else None
        held = _learnt(source, encoder, store, (device, runtime))
        if home:
            held.save(home, 0.01 if false_alarm is None else false_alarm)
            click.echo(f"detector {home}", err=True)
    if not asked:
        return
    text, failed = _judged(held, asked, store, false_alarm)
    if rows == "-":
        click.echo(text, nl=False)
    else:
        write_file(Path(rows), text.encode("utf-8", "surrogateescape"))
    if failed:
        click.echo(f"ilk: {failed:,} inputs could not be read", err=True)
        raise click.exceptions.Exit(1)


@dataclass(frozen=True, eq=False)
class Held:
    """An encoder, what is normal in its space, and the false-alarm rate it was saved with."""

    encoder: Embeds
    detector: NormalGaussian
    false_alarm: float = 0.01

    def save(self, home: Path, false_alarm: float) -> None:
        """Write the folder: safetensors and JSON, as a classifier's, of another format."""
        from ilk import artefact

        self.detector.threshold(false_alarm)  # refuses a rate that is none
        weights, parts = artefact.pack({"detector": self.detector})
        about = {"encoder": self.encoder.describe(), "false_alarm": false_alarm, "parts": parts}
        artefact.write(home, weights, {"format": FORMAT, **about})


def opened(home: Path, device: str, runtime: str) -> Held:
    """A detector's folder.

    Raises:
        ArtefactError: It holds something else, or was altered.
        Unavailable: The encoder is not on this machine.
    """
    from ilk import artefact
    from ilk.encoders import restore
    from ilk.errors import ArtefactError

    try:
        about = json.loads((home / artefact.ABOUT).read_bytes())
        kind, version, stored = about["format"], int(about["version"]), about["weights"]
        weights = (home / Path(stored["file"]).name).read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        raise ArtefactError(f"{home} is no detector; make one: ilk normal DIR --out NEW") from None
    if kind != FORMAT or version > artefact.VERSION:
        raise ArtefactError(
            f"{home} holds an {kind!r} of version {version}, not an {FORMAT!r} of version "
            f"{artefact.VERSION} or less; make one: ilk normal DIR --out NEW"
        )
    whole = hashlib.sha256(weights).hexdigest() == stored["sha256"]
    if not whole or about.get("digest") != artefact.digest(about):
        raise ArtefactError(f"{home} was altered after ilk wrote it; learn the detector again")
    detector = artefact.unpack(weights, about["parts"])["detector"]
    encoder = restore(about["encoder"], device=device, runtime=runtime)
    return Held(encoder, detector, float(about["false_alarm"]))


def _learnt(source: str, name: str, store: Store, where: tuple[str, str]) -> Held:
    import numpy as np

    from ilk.data import UNKNOWN, Data
    from ilk.encode import fill
    from ilk.errors import NoImages
    from ilk.images import read
    from ilk.methods.gaussian_anomaly import GaussianAnomaly
    from ilk.progress import told

    images = read(source, verify=False, store=store, progress=told())
    encoder = _encoder(name, images, *where)
    images = images.refuse(fill(images, [encoder], store, progress=told()))
    if not images.used:
        raise NoImages("no file could be used: " + ", ".join(x for x, _, _ in images.summary()))
    x = store.get(encoder.space, [row.digest for row in images.used])
    detector = GaussianAnomaly().fit(Data(x, np.full(len(x), UNKNOWN), ()))
    left = f"; {len(images.refused):,} files were refused" if images.refused else ""
    click.echo(f"normal by {len(x):,} images through {encoder.name}{left}", err=True)
    return Held(encoder, detector)


def _encoder(name: str, images: Images, device: str, runtime: str) -> Embeds:
    """The one named, or of the defaults the last: a pretrained network where one is at hand."""
    from ilk.encoders import defaults, resolve

    if name:
        return resolve(name, images=images, device=device, runtime=runtime)
    return defaults(images, device=device, runtime=runtime)[0][-1]


def _judged(
    held: Held, asked: Sequence[str], store: Store, false_alarm: float | None
) -> tuple[str, int]:
    """Verdicts as CSV, a row an input in the order given, and how many could not be read."""
    from ilk.classifier import told as reason
    from ilk.encode import fill
    from ilk.images import Images, inspect, listing
    from ilk.methods.gaussian_anomaly import NEVER
    from ilk.progress import told

    rate = held.false_alarm if false_alarm is None else false_alarm
    threshold = held.detector.threshold(rate)
    if threshold == NEVER:
        needed, had = ceil(round(1 / rate - 1, 9)), len(held.detector.held)
        click.echo(
            f"ilk: a false-alarm rate of {rate:.2%} needs {needed:,} normal images and there were "
            f"{had:,}: nothing is called odd; see the scores",
            err=True,
        )
    images = Images(None, tuple(inspect(p) for given in asked for p in listing(given)))
    images = images.refuse(fill(images, [held.encoder], store, progress=told()))
    used = [row for row in images.rows if row.status == "used"]
    scores = iter(held.detector.score(store.get(held.encoder.space, [r.digest for r in used])))
    lines: list[tuple[Any, ...]] = [HEADINGS]
    limit = "" if threshold == NEVER else f"{threshold:.6f}"
    for row in images.rows:
        if row.status != "used":
            lines.append((row.path, "", limit, "", reason(row)))
            continue
        score = float(next(scores))
        verdict = "odd" if score > threshold else "normal"
        lines.append((row.path, f"{score:.6f}", limit, verdict, ""))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue(), len(images.rows) - len(used)
