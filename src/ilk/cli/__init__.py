"""The `ilk` command. Each subcommand is a module of this package, imported when it is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from ilk.core.blocked_reads import has_blocked_threads
from ilk.core.terminal_text import filter_streams

OUTPUT_LOST = 5  # exit code where standard output could not be written

COMMAND_GROUPS = {
    "Classify": {
        "check": "Inspect a folder or table of images and report unusable files.",
        "fit": "Train a classifier on labelled images and write a model folder.",
        "predict": "Predict the class of each image.",
        "evaluate": "Score a model folder on labelled images.",
        "explain": "Draw heat maps of what supports an answer, with a verdict on each.",
    },
    "Serve": {
        "serve": "Serve a model on a web page and over HTTP, with corrections.",
    },
    "Labels and new data": {
        "label": "Label a folder of images on a web page, with the help of a model.",
        "audit": "Rank labels, most likely mislabelled first.",
        "add": "Add classes to a model folder without retraining on the old images.",
        "adapt": "Adapt a model folder to the class priors of unlabelled images.",
        "discover": "Group images that belong to no class of a model folder.",
        "detect": "Train an anomaly detector on normal images, or score images with it.",
    },
    "Export and share": {
        "export": "Write a model folder as one ONNX file, or write its model card.",
        "push-to-hub": "Upload a model folder with its card to a hub.",
        "from-hub": "Download a model folder from a hub.",
    },
    "Small and tuned": {
        "finetune": "Tune a pretrained network on labelled images, if that pays.",
        "distill": "Train a small network to predict like a saved classifier.",
        "compress": "Make the network of a model folder smaller and faster, and measure the loss.",
        "condense": "Write a few images per class that train nearly as good a classifier.",
        "select": "Keep the most useful images of a folder, for training or for a target.",
    },
    "Diffusion models": {
        "pretrain": "Pretrain a diffusion model on a folder of images.",
        "tune": "Tune a diffusion model's classifier and features on labelled images.",
        "draw": "Sample images from a diffusion model.",
    },
    "Many images": {
        "search": "Find images similar to an image, a text or a class, or like some and unlike "
        "others.",
        "duplicates": "Find duplicates and near-duplicates in a folder, with the evidence.",
        "encode": "Encode images into shards, on many processes or machines.",
        "learn-metric": "Learn an embedding in which images of one class lie close together.",
    },
    "Inspect": {
        "rank": "Score encoders on labelled images without training a classifier.",
        "methods": "List the classification methods, or describe one of them.",
        "store": "Show or clear the cache of encoded images.",
        "doctor": "Show installed packages, the device and the available encoders.",
        "demo": "Generate a flawed data set and run the whole workflow on it.",
        "bench": "Run a benchmark (requires a checkout of the repository).",
    },
}
"""Commands by task: name and one-line summary, in the order in which `ilk --help` lists them."""

COMMANDS = {name: text for group in COMMAND_GROUPS.values() for name, text in group.items()}


class LazyGroup(click.Group):
    """A group that knows the names and summaries of its commands without importing them."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order of the help page."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        """Import and return the command `name`; None if there is no such command."""
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"ilk.cli.{name.replace('-', '_')}").command
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per task."""
        width = max(map(len, COMMANDS))
        for title, commands in COMMAND_GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), text) for name, text in commands.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ilk")
def ilk() -> None:
    """Turn a folder of images into a classifier you can trust."""


def main() -> None:
    """Run `ilk` on the process's arguments and exit with its exit code."""
    from ilk.cli.signals import signals
    from ilk.cli.streams import describe_loss, guard

    out, _ = guard("stdout"), guard("stderr")
    sys.stdout, sys.stderr = filter_streams(sys.stdout, sys.stderr)
    try:
        signals.install()
        code = run(sys.argv[1:])
        signals.uninstall()
    except KeyboardInterrupt:  # just before the command began, or just after it ended
        code = _report_interruption()
    sys.stdout.flush()
    if reason := describe_loss(out):
        click.echo(f"ilk: {reason}", err=True)
        code = max(code, OUTPUT_LOST)
    sys.stderr.flush()
    if signals.received is not None or has_blocked_threads():
        os._exit(code)  # a thread that waits for a drive would keep the process from ending
    sys.exit(code)


def _report_interruption() -> int:
    """Print what a signal did, and return the exit code."""
    from ilk.cli.signals import signals

    click.echo(f"ilk: {signals.describe()}", err=True)
    return signals.exit_code


def run(args: list[str]) -> int:
    """Run one command line and return its exit code.

    Errors that ilk raises on purpose are printed to standard error as one sentence.
    """
    from ilk.cli.wording import name_options
    from ilk.core.errors import IlkError

    try:
        # click returns the exit code of a command that exits, or else the command's own result.
        code = ilk.main(args, prog_name="ilk", standalone_mode=False, obj=tuple(args))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except IlkError as error:
        click.echo(f"ilk: {name_options(str(error))}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _report_interruption()
    except BrokenPipeError:
        return 0
    return code if isinstance(code, int) else 0
