"""The option `--csv-safe` of commands that write CSV or TSV."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

F = TypeVar("F", bound=Callable[..., Any])


def add_csv_safe_option(f: F) -> F:
    """Add `--csv-safe`, and say when text was written that a spreadsheet would run."""

    @wraps(f)
    def command(*args: Any, csv_safe: bool, **options: Any) -> Any:
        from ilk.core.csv_cells import describe_formulas, writing_csv

        with writing_csv(csv_safe) as writing:
            try:
                return f(*args, **options)
            finally:
                is_dropped = options.get("as_json") and options.get("out") == "-"
                if (note := describe_formulas(writing.n_formulas)) and not is_dropped:
                    click.echo(f"· {note}", err=True)

    option = click.option(
        "--csv-safe/--no-csv-safe",
        default=False,
        show_default=True,
        help="Write an apostrophe before text in CSV and TSV that a spreadsheet would run as a "
        "formula, such as =1+1; ilk reads it without.",
    )
    return cast(F, option(command))
