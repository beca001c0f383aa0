"""`ilk demo`: the whole workflow on digits, with the commands that a user would type."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import click

from ilk.cli.output import Result, add_json_option


@click.command()
@click.option("--out", default="ilk-demo", show_default=True, help="Folder to work in.")
@add_json_option
def command(out: str) -> Result:
    """Write a folder of digits with typical flaws; check, fit, predict, evaluate and draw."""
    from ilk.cli import run
    from ilk.demo import make_demo

    home = Path(out)
    started_at = time.monotonic()
    click.echo("Writing scikit-learn's 1,797 digits as PNG files, with planted flaws …")
    faults = make_demo(home)
    click.echo(
        f"planted in {home / 'digits'}: {len(faults.unreadable)} files that are not images, "
        f"{len(faults.leaked)} images in both train and test, one image with two labels, "
        f"{len(faults.mislabelled)} wrong labels; {home / 'not-digits'} contains 30 images that "
        "are not digits"
    )
    for args, expected in _list_commands(home):
        click.echo(f"\n$ ilk {' '.join(args)}")
        code = run(args)
        if code not in expected:
            raise click.exceptions.Exit(code or 1)
    summary = _summarize(home, time.monotonic() - started_at)
    click.echo(
        f"\n{summary['flagged']} of {summary['not_digits']} images that are not digits were "
        f"flagged as unknown\nreport {summary['report']}   ({summary['seconds']:.0f} s in total)"
    )
    return Result(summary)


def _list_commands(home: Path) -> list[tuple[list[str], tuple[int, ...]]]:
    """List the command lines to run and the exit codes to expect."""
    diffusion = f"diffusion:{home}/diffusion"
    fit_options = ["--encoder", "default", "--encoder", diffusion, "--classifier", diffusion]
    return [
        (["check", f"{home}/digits"], (1,)),
        (["pretrain", f"{home}/digits", "--out", f"{home}/diffusion"], (0,)),
        (["fit", f"{home}/digits", *fit_options, "--out", f"{home}/model"], (0,)),
        (["predict", f"{home}/model", f"{home}/not-digits", "--out", f"{home}/rows.csv"], (0,)),
        (["evaluate", f"{home}/model", f"{home}/digits"], (0,)),
        (["draw", f"{home}/diffusion", "--out", f"{home}/samples.png"], (0,)),
    ]


def _summarize(home: Path, seconds: float) -> dict[str, Any]:
    with (home / "rows.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return {
        "model": home / "model",
        "report": home / "model" / "report.html",
        "not_digits": len(rows),
        "flagged": sum(row["unknown"] == "true" for row in rows),
        "seconds": seconds,
    }
