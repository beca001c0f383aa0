"""The command `ilk`. Each command is a file of this package, imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

COMMANDS = {
    "check": "Look at a folder or table of images: what is used, what is refused and why.",
    "fit": "Learn from labelled images and write a model folder with its evidence.",
    "predict": "Name the kind of each image.",
    "evaluate": "Score a model folder on labelled images.",
    "add": "Add classes to a model folder, and show that the old ones answer as before.",
    "adapt": "Correct a model folder for the class shares of images without labels.",
    "discover": "Group the images that fit no class of a model folder.",
    "audit": "Rank the labels of a folder, the likeliest wrong first.",
    "normal": "Learn what is normal from a folder, and say what is odd.",
    "rank": "Score encoders on labelled images without fitting a classifier.",
    "pretrain": "Learn to denoise images: a diffusion model that classifies, describes and draws.",
    "tune": "Teach a diffusion model's classifier and features from a few labelled images.",
    "draw": "Draw pictures from a diffusion model.",
    "demo": "Make a folder with real-life trouble in it and go the whole way.",
    "store": "Show or clear what has been encoded so far.",
    "doctor": "Say what is installed, which device is used, which encoders are ready.",
    "methods": "List the methods, or show one with its fields.",
    "bench": "Run a benchmark and write its result as JSON.",
}


class Lazy(click.Group):
    """A group that knows its commands' names and one-liners without importing them."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"ilk.cli.{name}").command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ilk")
def ilk() -> None:
    """A folder of images in, a classifier you can trust out."""


def main() -> None:
    """Run `ilk`; what goes wrong on purpose ends in one sentence and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(args: list[str]) -> int:
    """Run one command line and give its exit code."""
    from ilk.errors import IlkError

    try:
        # click gives back the exit code that a command asked for, or what the command returned.
        code = ilk.main(args, prog_name="ilk", standalone_mode=False, obj=tuple(args))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except IlkError as error:
        click.echo(f"ilk: {error}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo(
            "ilk: stopped. What has been done is kept; the same command goes on from there.",
            err=True,
        )
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return code if isinstance(code, int) else 0
