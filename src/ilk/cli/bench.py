"""`ilk bench`: run a benchmark and record its result."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click

from ilk.cli.output import Result, add_json_option, format_json, print_table


@click.command()
@click.argument("name", required=False)
@click.option("--small", is_flag=True, help="Run a reduced version that takes seconds, as a test.")
@click.option("--out", help="JSON file to write [default: benchmarks/results/NAME.json].")
@add_json_option
def command(name: str | None, small: bool, out: str | None) -> Result:
    """Run benchmark NAME, or list the benchmarks if NAME is omitted.

    The benchmarks are in the folder benchmarks/ of the repository, not in the package. The exit
    code is 1 if a result misses a bar that the benchmark sets itself.
    """
    runner = load_runner()
    if name is None:
        questions = {n: runner.read_question(n).split("\n")[0] for n in runner.list_benchmarks()}
        print_table(("benchmark", "question"), list(questions.items()))
        return Result([{"benchmark": n, "question": text} for n, text in questions.items()])
    path = runner.HERE / "results" / f"{name}.json"
    if out:
        from ilk.artifacts.output_files import check_output_file

        path = check_output_file(Path(out), (".json",))
    record = runner.run_benchmark(name, path, small=small)
    click.echo(format_json(record["result"]))
    missed = record["result"].get("bars missed", [])
    for bar in missed:
        click.echo(f"ilk: missed: {bar}", err=True)
    return Result(record, exit_code=1 if missed else 0)


def load_runner() -> ModuleType:
    """Import `benchmarks.runner` from the checkout of this installation or working directory.

    Raises:
        Unavailable: Neither is a checkout; the package does not contain the benchmarks.
    """
    from ilk.core.errors import Unavailable

    for root in (Path(__file__).parents[3], Path.cwd()):
        if (root / "benchmarks" / "runner.py").is_file():
            if str(root) not in sys.path:
                sys.path.insert(0, str(root))
            return import_module("benchmarks.runner")
    raise Unavailable(
        "the benchmarks are not part of the installed package; run `ilk bench` inside a checkout "
        "of the repository (the folder that contains benchmarks/)"
    )
