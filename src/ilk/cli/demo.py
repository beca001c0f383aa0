"""`ilk demo`: the whole road on digits, with the commands that a user would type."""

from __future__ import annotations

import time
from pathlib import Path

import click


@click.command()
@click.option("--out", default="ilk-demo", show_default=True, help="Folder to work in.")
def command(out: str) -> None:
    """Write digits with real-life trouble in them, then check, fit, predict and evaluate."""
    from ilk.cli import run
    from ilk.demo import make

    home = Path(out)
    began = time.monotonic()
    click.echo("Writing scikit-learn's 1,797 digits as PNG files, with trouble planted …")
    planted = make(home)
    click.echo(
        f"planted in {home / 'digits'}: {len(planted.unreadable)} files that are no images, "
        f"{len(planted.across)} images in both train and test, one image under two labels, "
        f"{len(planted.wrong)} wrong labels; beside it, {home / 'not-digits'} holds 30 pictures "
        "that are no digits"
    )
    model = f"diffusion:{home}/diffusion"
    learn = ["--encoder", "default", "--encoder", model, "--classifier", model]
    typed: list[tuple[list[str], tuple[int, ...]]] = [
        (["check", f"{home}/digits"], (1,)),
        (["pretrain", f"{home}/digits", "--out", f"{home}/diffusion"], (0,)),
        (["fit", f"{home}/digits", *learn, "--out", f"{home}/kinds"], (0,)),
        (["predict", f"{home}/kinds", f"{home}/not-digits", "--out", f"{home}/rows.csv"], (0,)),
        (["evaluate", f"{home}/kinds", f"{home}/digits"], (0,)),
        (["draw", f"{home}/diffusion", "--out", f"{home}/drawn.png"], (0,)),
    ]
    for args, expected in typed:
        click.echo(f"\n$ ilk {' '.join(args)}")
        code = run(args)
        if code not in expected:
            raise click.exceptions.Exit(code or 1)
    click.echo("")
    _show_end(home, time.monotonic() - began)


def _show_end(home: Path, seconds: float) -> None:
    import csv
    import json

    from ilk.cli.tables import show_leaderboard

    with (home / "rows.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    flagged = sum(row["unknown"] == "true" for row in rows)
    board = json.loads((home / "kinds" / "leaderboard.json").read_text(encoding="utf-8"))
    show_leaderboard(board["rows"])
    click.echo(f"{flagged} of {len(rows)} pictures that are no digits were called unknown")
    click.echo(f"report {home / 'kinds' / 'report.html'}   ({seconds:.0f} s in all)")
