"""`ilk audit`: which labels look wrong, and what correcting them would change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ilk.cli.audit_tables import Seen, show_effect, show_labels, write
from ilk.cli.options import Intake, intake_options, network_options, show_intake

if TYPE_CHECKING:
    from ilk.images import Images
    from ilk.plan import Plan
    from ilk.store import Store


@click.command()
@click.argument("source")
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    help="Take this encoder; may be repeated; `default` stands for the good ones at hand.",
)
@click.option(
    "--method", "methods", multiple=True, help="Judge with this method [default: GDA]; repeatable."
)
@click.option("--out", default="suspects.csv", show_default=True, help="CSV of all labels, ranked.")
@click.option("--show", default=20, show_default=True, help="Labels to show here.")
@click.option(
    "--share",
    "shares",
    multiple=True,
    type=float,
    help="Share of the labels to try without and relabelled [default: 0.01 and 0.05]; 0 for none.",
)
@click.option(
    "--by",
    default="self_confidence",
    show_default=True,
    help="Rank by margin, self_confidence or joint.",
)
@click.option("--folds", default=5, show_default=True, help="Parts of the cross-validation.")
@click.option("--seed", default=0, show_default=True)
@intake_options
@network_options
def command(
    source: str,
    encoders: tuple[str, ...],
    methods: tuple[str, ...],
    out: str,
    show: int,
    shares: tuple[float, ...],
    by: str,
    folds: int,
    seed: int,
    intake: Intake,
    device: str,
    runtime: str,
) -> None:
    """Rank the labels of SOURCE, the likeliest wrong first, and say what correcting them changes.

    Every labelled image is judged by classifiers that did not see it. SOURCE is read as by
    `ilk fit`; its train, val and test parts are taken together, and nothing in it is changed.
    """
    from ilk.methods import parse
    from ilk.plan import Plan
    from ilk.progress import told
    from ilk.store import Store
    from ilk.trust.audit import check, effect
    from ilk.trust.suspects import Suspects

    home = _outside(Path(out), Path(source))
    asked = tuple(share for share in shares if share) if shares else (0.01, 0.05)
    check(asked, by)
    for text in methods:
        parse(text)
    plan = Plan(encoders, methods=methods or ("GDA",), folds=folds, seed=seed)
    plan = replace(plan, device=device, runtime=runtime)
    store = Store()
    images = intake.read(source, store)
    seen = _judged(images, plan, store)
    if seen.images.refused:
        show_intake(seen.images)
    assert seen.board.probabilities is not None, "_judged refuses where nothing was tested"
    found = Suspects.find(seen.board.probabilities, seen.data.y, by)
    write(home, seen, found)
    show_labels(seen, found, show)
    if asked:
        method = seen.board.winner[1]
        show_effect(effect(method, seen.data, seen.board.fold, asked, by, told()))
    click.echo(f"labels {home}")


def _judged(images: Images, plan: Plan, store: Store) -> Seen:
    """Every labelled image, encoded and answered for by the other folds.

    Raises:
        NoLabels, InputError: There is nothing to compare a label with.
    """
    from ilk import evaluate, fitting
    from ilk.applicable import tried_methods
    from ilk.encode import fill
    from ilk.encoders import ScoresClasses
    from ilk.encoders.among import Among
    from ilk.errors import InputError
    from ilk.plan import divide
    from ilk.progress import told

    images = _together(images)
    _auditable(images)
    among = Among(images.classes, plan.prompts, store)
    encoders = fitting.asked_encoders(images, plan, among, lambda line: click.echo(line))
    if classifiers := [e.name for e in encoders if isinstance(e, ScoresClasses)]:
        raise InputError(
            f"{classifiers[0]} answers with classes of its own and may have learnt these very "
            "labels; audit with an encoder that gives features"
        )
    images = images.refuse(fill(images, encoders, store, progress=told()))
    _auditable(images)
    parts = divide(images, plan)
    tables = {e.name: fitting.features_table(e, parts, plan, store) for e in encoders}
    tried = {e.name: tried_methods(e, plan, labels=True) for e in encoders}
    board = evaluate.leaderboard(tables, tried, folds=plan.folds, seed=plan.seed, progress=told())
    if board.probabilities is None:
        raise InputError(
            "every class has a single labelled image, so no label can be compared with another; "
            "label at least two images of each class"
        )
    return Seen(images, parts.train, tables[board.winner[0]], board)


def _together(images: Images) -> Images:
    """All used rows as one part: a wrong label in the test part is one too."""
    rows = tuple(replace(r, split="train") if r.status == "used" else r for r in images.rows)
    return replace(images, rows=rows)


def _auditable(images: Images) -> None:
    from ilk.errors import InputError, NoLabels

    images.some()
    if not images.classes:
        raise NoLabels(
            f"{len(images.used)} images and not one label, so there is nothing to audit; "
            "put them in a folder a class, or name the column with --label-column"
        )
    if len(images.classes) == 1:
        raise InputError(
            f"every label is {images.classes[0]!r}; a wrong one can only be told where there are "
            "two classes or more"
        )


def _outside(out: Path, source: Path) -> Path:
    """`out`, if it can be written and does not lie in what is audited."""
    from ilk.errors import InputError, OutputError

    place, held = out.resolve(), source.resolve()
    if place == held or (held.is_dir() and held in place.parents):
        raise InputError(
            f"{out} lies in {source}, which an audit leaves as it is; name another place with --out"
        )
    if place.is_dir() or not place.parent.is_dir():
        raise OutputError(f"cannot write {out}: name a file in a folder that is there with --out")
    return out
