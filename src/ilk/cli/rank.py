"""`ilk rank`: which encoder suits these images, without fitting a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.options import Intake, intake_options, network_options

if TYPE_CHECKING:
    from ilk.data import Data
    from ilk.encoders import Embeds
    from ilk.images import Images
    from ilk.ranking import Standing
    from ilk.store import Store

WIDTH = 32  # common principal axes, or the fewest that an encoder here has
BY = "LogME"  # the one nearest to heads on frozen features in `ilk bench which_encoder`


@click.command()
@click.argument("source")
@click.option("--encoders", "listed", default="", help="Encoders to compare, with commas between.")
@click.option("--encoder", "named", multiple=True, help="One more; for names that hold a comma.")
@click.option("--rows", default=2000, show_default=True, help="Images drawn to score on, at most.")
@click.option("--seed", default=0, show_default=True, help="Draws them, and the folds.")
@click.option(
    "--check", is_flag=True, help="Measure the leaderboard on the same images too: do scores agree?"
)
@click.option("--out", help="Write the figures to this JSON file.")
@intake_options
@network_options
def command(
    source: str,
    listed: str,
    named: tuple[str, ...],
    rows: int,
    seed: int,
    check: bool,
    out: str | None,
    intake: Intake,
    device: str,
    runtime: str,
) -> None:
    """Score encoders on the labelled images of SOURCE without fitting a classifier.

    Higher is meant to be better in every column: LogME (evidence of a linear model), H-score
    (variance between classes), TMI (entropy within classes, of the features as they are and in
    common principal axes), and LEEP and NCE where a network has a classifier of its own. --check
    says how each agrees with the best head's accuracy. Default: the encoders of `ilk fit`.
    """
    from ilk.artefact import json_bytes, write_file
    from ilk.cli.options import show_intake
    from ilk.encode import fill
    from ilk.progress import told
    from ilk.store import Store

    store = Store()
    images = intake.read(source, store)
    drawn = _drawn(images, rows, seed)  # refuses what cannot be ranked, before any work
    encoders = _encoders([*listed.split(","), *named], images, device, runtime)
    drawn = drawn.refuse(fill(drawn, encoders, store, progress=told()))
    if images.refused or drawn.refused:
        show_intake(images.refuse({r.digest: (r.reason, r.detail) for r in drawn.refused}))
    tables = _tables(encoders, drawn, store)
    standings = _standings(encoders, tables)
    accuracy = _measured(tables, seed) if check else {}
    agree = _agreement(standings, accuracy)
    _show(standings, accuracy, agree, len(next(iter(tables.values()))))
    if out:
        listing = [{**asdict(s), "accuracy": accuracy.get(s.encoder)} for s in standings]
        write_file(Path(out), json_bytes({"encoders": listing, "agreement": agree}))


def _encoders(names: Sequence[str], images: Images, device: str, runtime: str) -> list[Embeds]:
    """Those named, or the good ones that can be had, which is said in one line."""
    from ilk.encoders import ScoresClasses, defaults, resolve
    from ilk.errors import InputError

    found: list[Embeds] = []
    wanted = [name.strip() for name in names if name.strip()]
    for name in dict.fromkeys(wanted or ["default"]):
        if name == "default":
            good, line = defaults(images, device=device, runtime=runtime)
            click.echo(line)
            found += good
            continue
        one = resolve(name, images=images, device=device, runtime=runtime)
        if isinstance(one, ScoresClasses):
            raise InputError(
                f"{name} classifies by itself and gives no features to rank; "
                "compare it with: ilk fit DIR --classifier diffusion:PATH"
            )
        found.append(one)
    return list({encoder.name: encoder for encoder in found}.values())


def _drawn(images: Images, rows: int, seed: int) -> Images:
    """The labelled images to score on, at most `rows`, drawn by `seed`; no other is encoded."""
    import numpy as np

    from ilk.errors import InputError
    from ilk.plan import Plan, divide

    if rows < 2:
        raise InputError(f"{rows} images tell nothing of an encoder; give --rows at least 2")
    train = divide(images, Plan()).train
    order = np.random.default_rng(seed).permutation(len(train))[:rows]
    return replace(images, rows=tuple(train[i] for i in np.sort(order)))


def _tables(encoders: Sequence[Embeds], drawn: Images, store: Store) -> dict[str, Data]:
    """The same labelled images as each encoder sees them."""
    from ilk.data import Data
    from ilk.plan import Plan, divide

    parts = divide(drawn, Plan())
    digests, y = [row.digest for row in parts.train], parts.labels(parts.train)
    return {e.name: Data(store.get(e.space, digests), y, parts.classes) for e in encoders}


def _standings(encoders: Sequence[Embeds], tables: dict[str, Data]) -> list[Standing]:
    """Every encoder scored, the likeliest by `BY` first."""
    import numpy as np

    from ilk.ranking import standing
    from ilk.ranking.source_head import source_probabilities

    width = min(WIDTH, *(_directions(data) for data in tables.values()))
    found = []
    for encoder in encoders:
        x, y = np.asarray(tables[encoder.name].x, np.float32), tables[encoder.name].y
        found.append(standing(encoder.name, x, y, source_probabilities(encoder, x), width))
    return sorted(found, key=lambda s: -(s.scores[BY] or 0.0))


def _directions(data: Data) -> int:
    """In how many directions the rows spread, at least 1."""
    from ilk.maths.axes import principal

    return max(1, len(principal(data.x).squares))


def _measured(tables: dict[str, Data], seed: int) -> dict[str, float]:
    """Cross-validated accuracy of the best head on each encoder, as the leaderboard measures it."""
    from ilk import methods
    from ilk.evaluate import leaderboard
    from ilk.progress import told

    board = [kind() for kind in methods.available().values() if kind.board and not kind.needs_hints]
    found = leaderboard(tables, dict.fromkeys(tables, board), seed=seed, progress=told())
    best: dict[str, float] = {}
    for row in found.results:
        if row.scores is not None:
            best[row.encoder] = max(row.scores.accuracy.value, best.get(row.encoder, 0.0))
    return best


def _agreement(standings: Sequence[Standing], accuracy: dict[str, float]) -> dict[str, Any]:
    """Kendall's tau of each score with the accuracy, and over how many encoders."""
    from ilk.ranking import agreement

    found = {}
    for name in standings[0].scores if accuracy else ():
        told = [(s.scores[name], accuracy[s.encoder]) for s in standings if s.encoder in accuracy]
        pairs = [(score, right) for score, right in told if score is not None]
        tau = agreement([score for score, _ in pairs], [right for _, right in pairs])
        found[name] = {"tau": tau, "encoders": len(pairs)}
    return found


def _show(
    standings: Sequence[Standing], accuracy: dict[str, float], agree: dict[str, Any], images: int
) -> None:
    from ilk.cli.options import table

    names = sorted(standings[0].scores, key=lambda name: name != BY)
    head = ("encoder", "width", *names, *(["accuracy"] if accuracy else []))
    rows = []
    for s in standings:
        cells = ["–" if (value := s.scores[n]) is None else f"{value:.3f}" for n in names]
        right = accuracy.get(s.encoder)
        last = [("–" if right is None else f"{right:.3f}")] if accuracy else []
        rows.append((s.encoder, f"{s.width:,}", *cells, *last))
    if agree:
        taus = [agree[n]["tau"] for n in names]
        told = ["–" if tau is None else f"{tau:+.2f}" for tau in taus]
        rows.append(("Kendall's tau with accuracy", "", *told, ""))
    table(head, rows)
    click.echo(
        f"on {images:,} labelled images; best by {BY} first; – where there is nothing to read"
    )
    if accuracy and len(standings) < 10:
        click.echo("· with so few encoders, tau says little: compare ten or more")
