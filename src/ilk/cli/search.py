"""`ilk search`: find images similar to an image, a text or a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.csv_safe import add_csv_safe_option
from ilk.cli.finite_range import FiniteRange
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_fetch_option, add_network_options, add_seed_option
from ilk.cli.output import Result, add_json_option, print_note, print_table
from ilk.cli.source_options import add_source_options

if TYPE_CHECKING:
    from ilk.retrieval.query import Query
    from ilk.retrieval.results import SearchResult

SEVERAL = ("--like", "--unlike")  # take all words up to the next option


class SearchCommand(click.Command):
    """A command in which every word after `--like` or `--unlike` belongs to that option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before each of its words, and parse."""
        return super().parse_args(ctx, repeat_options(args))


def repeat_options(args: Sequence[str]) -> list[str]:
    """Return arguments with `--like` and `--unlike` before each of the words that follow them.

    >>> repeat_options(["photos", "--like", "a.jpg", "b.jpg", "--count", "3"])
    ['photos', '--like', 'a.jpg', '--like', 'b.jpg', '--count', '3']
    """
    repeated: list[str] = []
    current = ""
    for i, word in enumerate(args):
        if word == "--":
            return [*repeated, *args[i:]]
        if word in SEVERAL:
            if i + 1 == len(args) or (args[i + 1].startswith("-") and len(args[i + 1]) > 1):
                raise click.BadOptionUsage(word, f"Option {word!r} requires an argument.")
            current = word
        elif word.startswith("-") and len(word) > 1:
            current = ""
            repeated.append(word)
        else:
            repeated += [current, word] if current else [word]
    return repeated


@click.command(cls=SearchCommand)
@click.argument("source")
@click.argument("queries", nargs=-1, metavar="[QUERY]...")
@click.option(
    "--text", "texts", multiple=True, help="Text to search for, with an encoder that reads text."
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    help="Class to search for: the mean of its images, or with --model its probability.",
)
@click.option("--like", multiple=True, help="Images that the results should resemble.")
@click.option("--unlike", multiple=True, help="Images that the results should not resemble.")
@click.option(
    "--unlike-weight",
    type=FiniteRange(0),
    default=0.75,
    show_default=True,
    help="Weight of the images after --unlike; those after --like have 0.75.",
)
@click.option(
    "--count",
    type=click.IntRange(1),
    default=12,
    show_default=True,
    help="Number of images to show.",
)
@click.option("--labelled", is_flag=True, help="Search only images that have a label.")
@click.option("--include-self", is_flag=True, help="Also show the query itself, if SOURCE has it.")
@click.option("--each", is_flag=True, help="Search for each QUERY separately, not for their mean.")
@click.option(
    "--out",
    multiple=True,
    help="Write the results to this file: a page of pictures (.html) or a table (.csv, .tsv); may "
    "be repeated.",
)
@click.option(
    "--index",
    "index_folder",
    default="",
    help="Folder that keeps the index of SOURCE between calls; new images are added to it, and "
    "those that are gone are removed.",
)
@click.option(
    "--kind",
    default="auto",
    show_default=True,
    help="Kind of index: Exact, HNSW or HashCodes, with or without settings, as in "
    "HashCodes(bits=64); auto is Exact up to a million images and HNSW above.",
)
@click.option(
    "--projection",
    default="auto",
    show_default=True,
    help="Linear map that is applied to the features before their cosines are compared: none, "
    "Centring, Whitening or LDA; auto uses the best one in a new --index if it is better than none "
    "on held-out classes, and none without --index.",
)
@click.option(
    "--encoder",
    default="",
    help="Encoder of the features [default: the best one that is installed].",
)
@click.option("--model", default="", help="Model folder whose encoder is used on SOURCE.")
@add_seed_option
@add_csv_safe_option
@add_source_options
@add_fetch_option
@add_network_options
@add_json_option
def command(
    source: str,
    queries: tuple[str, ...],
    texts: tuple[str, ...],
    classes: tuple[str, ...],
    like: tuple[str, ...],
    unlike: tuple[str, ...],
    unlike_weight: float,
    count: int,
    labelled: bool,
    include_self: bool,
    each: bool,
    out: tuple[str, ...],
    index_folder: str,
    kind: str,
    projection: str,
    encoder: str,
    model: str,
    seed: int,
    intake: IntakeOptions,
    device: str,
    runtime: str,
    fetch: bool,
) -> Result:
    """Find the images of SOURCE that are most similar to QUERY.

    SOURCE is a model folder, whose training images are searched; a folder of images, a table or an
    archive; a folder of shards; or an index that --index wrote. QUERY is an image or, for an
    encoder that reads text, a text; several queries are averaged. If SOURCE contains the query
    itself, it is left out, and copies of it are marked. All words after --like or --unlike belong
    to that option, so name SOURCE first.
    """
    from ilk.artifacts.output_files import check_output_file
    from ilk.core.progress import terminal_progress
    from ilk.retrieval.options import SearchOptions
    from ilk.retrieval.output import SUFFIXES, write_results
    from ilk.retrieval.searcher import open_searcher

    files = [check_output_file(Path(path), SUFFIXES, [source, *queries]) for path in out]
    asked = _make_queries(queries, texts, classes, like, unlike, unlike_weight, each)
    if index_folder:
        _check_index_folder(index_folder, source)
    options = SearchOptions(
        encoder, model, kind, projection, index_folder, device, runtime, fetch, seed
    )

    def read(path: str, store: Any, ranges: Any) -> Any:
        return intake.read_images(path, store, ranges=ranges)

    searcher = open_searcher(source, options, read, queries=asked, progress=terminal_progress())
    results = [
        searcher.ask(query, count=count, labelled_only=labelled, include_self=include_self)
        for query in asked
    ]
    for result in results:
        _show(result, len(results) > 1)
    for note in dict.fromkeys(note for result in results for note in result.notes):
        print_note(note)
    for path in files:
        write_results(path, results, source)
        click.echo(f"see {path}", err=True)
    value = {
        "source": source,
        "answers": [result.to_dict() for result in results],
        "index": {"images": len(searcher.index), "facts": searcher.index.facts},
        "notes": list(dict.fromkeys(note for result in results for note in result.notes)),
        "out": [str(path) for path in files],
    }
    return Result(value)


def _make_queries(
    queries: Sequence[str],
    texts: Sequence[str],
    classes: Sequence[str],
    like: Sequence[str],
    unlike: Sequence[str],
    unlike_weight: float,
    each: bool,
) -> list[Query]:
    """Return what is asked: one query, or with `each` one per word.

    Raises:
        InputError: `each` is given without a query, or with images that are liked or not.
    """
    from ilk.core.errors import InputError
    from ilk.retrieval.query import NO_QUERY, Query, looks_like_text

    words = [word for word in queries if looks_like_text(word)]
    images = tuple(word for word in queries if not looks_like_text(word))
    if not each:
        found = Query(
            images, (*texts, *words), tuple(classes), tuple(like), tuple(unlike), unlike_weight
        )
        return [found]
    if like or unlike:
        raise InputError("--each searches for each query separately; leave out --like and --unlike")
    single = [
        *(Query(texts=(word,)) if word in words else Query(images=(word,)) for word in queries),
        *(Query(texts=(text,)) for text in texts),
        *(Query(classes=(name,)) for name in classes),
    ]
    if not single:
        raise InputError(NO_QUERY)
    return single


def _check_index_folder(folder: str, source: str) -> None:
    """Raise OutputError if the index would lie among the images."""
    from ilk.artifacts.output_files import check_outside_sources

    check_outside_sources(Path(folder), source)


def _show(result: SearchResult, is_one_of_many: bool) -> None:
    """Print one answer as a table."""
    if is_one_of_many:
        click.echo(f"{result.query}:")
    if not result.hits:
        click.echo("there is no other image")
    else:
        rows = [
            (str(hit.rank), f"{hit.similarity:.3f}", hit.label or "–", hit.path, hit.copy)
            for hit in result.hits
        ]
        has_copies = any(hit.copy for hit in result.hits)
        head = ("rank", result.measure, "label", "path", "copy")
        width = 5 if has_copies else 4
        print_table(head[:width], [row[:width] for row in rows])
    if result.labels:
        named = list(result.labels.items())[:10]
        print_note("labels: " + ", ".join(f"{name} {n}" for name, n in named))
    if result.left_out:
        print_note(f"the query itself is one of these images and is left out: {result.left_out}")
