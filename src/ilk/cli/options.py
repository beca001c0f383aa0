"""Options that several commands share. An option name has the same meaning in every command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import click

from ilk.cli.output import show_intake
from ilk.cli.wording import name_options
from ilk.core.terminal_text import escape_line

if TYPE_CHECKING:
    from ilk.core.capabilities import Embeds
    from ilk.images import Images, ListedInputs, Row
    from ilk.store import Store

F = TypeVar("F", bound=Callable[..., Any])

add_seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of the random number generator.",
)
add_device_option = click.option(
    "--device", default="auto", show_default=True, help="Device: auto, cpu, cuda, cuda:N or mps."
)


def _check_precision(_context: click.Context, _option: click.Parameter, value: str) -> str:
    from ilk.core.device import check_precision

    return check_precision(value)


add_precision_option = click.option(
    "--precision",
    default="float32",
    show_default=True,
    callback=_check_precision,
    help="Precision of network computations: float32, or bfloat16 (faster on recent GPUs).",
)
add_encoders_option = click.option(
    "--encoder",
    "encoders",
    multiple=True,
    help="Encoder to use; may be repeated. `default` stands for the default encoders.",
)
add_resize_option = click.option(
    "--resize",
    default="auto",
    show_default=True,
    help="How images of another shape than the input are resized: crop, squash, letterbox, "
    "or auto, which considers the whole image where a crop would cut off much.",
)
add_views_option = click.option(
    "--views",
    default="auto",
    show_default=True,
    help="Number of flips and crops over which the features of pretrained encoders are averaged: 1 "
    "for none, up to 12, or auto, which compares 1 and 6 where images are few.",
)
add_folds_option = click.option(
    "--folds", default=5, show_default=True, help="Number of cross-validation folds."
)
add_strict_option = click.option(
    "--strict", is_flag=True, help="Stop if any file has to be refused."
)
add_merge_option = click.option(
    "--merge-spellings",
    is_flag=True,
    help="Merge class names that differ only in spelling, such as Cat and cat.",
)
add_label_separator_option = click.option(
    "--label-separator",
    help="Separator of several labels in one cell [default: ; | or , as found].",
)
add_single_label_option = click.option(
    "--no-multi-label",
    "multi_label",
    is_flag=True,
    flag_value=False,
    default=None,
    help="Take labels with separators, such as 'cat; dog', as names of classes.",
)
add_exclude_option = click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave out files, as in .gitignore: '*_mask.png', 'masks/'; may be repeated.",
)
add_fetch_option = click.option(
    "--fetch",
    is_flag=True,
    help="Fetch files of the saved model's encoder that are not on this machine, from the "
    "repository that the model names.",
)
add_value_range_option = click.option(
    "--value-range",
    metavar="auto|LOW-HIGH",
    help="Stored values that are black and white in images of more than 8 bits, such as 0-4095; "
    "auto finds the smallest standard range that holds all of them [default: auto, or that of the "
    "model].",
)
add_pages_option = click.option(
    "--pages",
    type=click.Choice(["first", "all"]),
    default="first",
    show_default=True,
    help="Pages or frames of a file with several: the first, or an image of each.",
)
add_force_option = click.option(
    "--force", is_flag=True, help="Write the model even if a check advises against it."
)


@dataclass(frozen=True)
class IntakeOptions:
    """How to read a folder or table of images.

    Attributes:
        strict: Stop if any file is refused.
        path_column: Column of image paths in a table; None uses the conventional names.
        label_column: Column of labels in a table; None uses the conventional names.
        merge_spellings: Merge class names that differ only in spelling.
        multi_label: Whether an image has a set of labels; None refuses tables that look like it.
        label_separator: Separator of labels in one cell; None finds it.
        group_column: Column of groups in a table; None reads none.
        group_from: Regular expression that finds the group in a path; None reads none.
        split_column: Column that says what is held out; None finds it.
        exclude: Patterns of files to leave out.
        value_range: Stored values that are black and white, LOW-HIGH; None or auto finds them.
        pages: first or all of the pages of a file with several.
    """

    strict: bool = False
    path_column: str | None = None
    label_column: str | None = None
    merge_spellings: bool = False
    multi_label: bool | None = None
    label_separator: str | None = None
    group_column: str | None = None
    group_from: str | None = None
    split_column: str | None = None
    exclude: tuple[str, ...] = ()
    value_range: str | None = None
    pages: str = "first"

    def read_images(
        self,
        source: str,
        store: Store,
        *,
        verify: bool = False,
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> Images:
        """Read the images of `source`; print the refused files and exit if `strict`.

        Args:
            source: What is read.
            store: Cache of decode results.
            verify: Decode every image.
            ranges: Value ranges of the model that the images are for.

        Raises:
            InputError: `source` cannot be read, or holds no usable image.
        """
        from ilk.core.progress import terminal_progress
        from ilk.images import describe_groups, read_images

        images = read_images(
            _check_source(source),
            path_column=self.path_column,
            label_column=self.label_column,
            multi_label=self.multi_label,
            label_separator=self.label_separator,
            group_column=self.group_column,
            group_from=self.group_from,
            merge_spellings=self.merge_spellings,
            verify=verify or self.strict,
            store=store,
            progress=terminal_progress(),
            split_column=self.split_column,
            exclude=self.exclude,
            value_range=self.choose_range(ranges),
            pages=self.pages,
        )
        is_silent = not verify and len(images.classes) < 2  # the error that follows says it
        hint = "" if is_silent else images.hint
        _print_notes((*images.notes, hint, *describe_groups(images.used)))
        if self.strict and images.refused:
            exit_refused(images)
        return images

    def choose_range(self, ranges: Mapping[str, tuple[float, float]] | None) -> Any:
        """Return the value range to read with: that of the model, else that of the options.

        Raises:
            InputError: The two differ.
        """
        from ilk.core.errors import InputError
        from ilk.images.value_range import parse_value_range

        given = parse_value_range(self.value_range)
        if ranges is None:
            return given or "auto"
        if given is not None and given != ranges:
            own = "a value range of its own" if ranges else "no value range"
            raise InputError(
                f"the model was fitted with {own}, which counts for new images too; leave "
                "--value-range out, or fit the model again with it"
            )
        return ranges

    def list_inputs(self, sources: Sequence[str], out: Path | None = None) -> ListedInputs:
        """Return the images that `sources` stand for, in order; print what is to be known.

        The file `out` of an earlier run is none of them.

        Raises:
            InputError: A source cannot be read.
            NoImages: There is no file.
        """
        from ilk.images import list_sources

        listed = list_sources(sources, self.path_column, self.exclude, self.group_column)
        if out is not None:
            from ilk.artifacts.output_files import leave_out

            listed = leave_out(listed, out)
        _print_notes(listed.notes)
        return listed

    def read_unlabelled(
        self,
        source: str,
        store: Store,
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> Images:
        """Read the images that `source` stands for; names of folders do not become labels.

        Raises:
            InputError: There is no such source, it cannot be read, or it holds no usable image.
        """
        from ilk.core.errors import NoImages
        from ilk.core.progress import terminal_progress
        from ilk.images import describe_groups, escape_path, read_images

        try:
            listed = self.list_inputs([_check_source(source)])
        except NoImages:
            if not Path(source).is_dir():
                raise
            raise NoImages(
                f"{escape_path(source)} is empty; it must contain images, which need no labels"
            ) from None
        images = read_images(
            listed,
            groups=listed.groups or None,
            group_from=self.group_from,
            verify=False,
            store=store,
            progress=terminal_progress(),
            source_name=escape_path(source),
            value_range=self.choose_range(ranges),
            pages=self.pages,
        )
        notes = [note for note in images.notes if note not in listed.notes]
        _print_notes([*notes, *describe_groups(images.used)])
        return images


def _check_source(source: str) -> str:
    """Return `source` if there is something to read under its name.

    Raises:
        InputError: There is no such file or folder, and it is no pattern.
    """
    from ilk.core.errors import InputError
    from ilk.images import escape_path
    from ilk.images.sources import find_kind

    if find_kind(source) == "missing":
        raise InputError(
            f"there is no folder or file {escape_path(source)} "
            f"(working directory: {escape_path(Path.cwd())})"
        )
    return source


def _print_notes(notes: Sequence[str]) -> None:
    """Print what there is to know about a source to standard error; "" is nothing."""
    for note in filter(None, notes):
        click.echo(f"· {escape_line(name_options(note))}", err=True)


def add_group_options(f: F) -> F:
    """Add the options for groups of images, which stay on one side of every split."""
    column = click.option(
        "--group-column",
        help="Table column with the group of each image, such as a patient or a video: a group is "
        "never on both sides of a split.",
    )
    pattern = click.option(
        "--group-from",
        metavar="REGEX",
        help="Regular expression that finds the group in the path of an image, such as "
        "'(p[0-9]+)_' or, for a folder per group, '([^/]+)/[^/]+$'.",
    )
    return column(pattern(f))


def add_source_options(f: F) -> F:
    """Add the options of every command that reads images; it receives them as `intake`.

    Other options that are fields of `IntakeOptions` are collected there as well.
    """

    @wraps(f)
    def command(*args: Any, **options: Any) -> Any:
        intake = IntakeOptions(
            **{f.name: options.pop(f.name) for f in fields(IntakeOptions) if f.name in options}
        )
        return f(*args, intake=intake, **options)

    for option in (
        add_exclude_option,
        add_pages_option,
        add_value_range_option,
        click.option("--path-column", help="Table column with the image paths."),
    ):
        command = option(command)
    return cast(F, command)


def add_intake_options(f: F) -> F:
    """Add the options of commands that read labels, and those of `add_source_options`."""
    command = add_source_options(f)
    for option in (
        add_merge_option,
        add_group_options,
        click.option("--label-column", help="Table column with the class names."),
        click.option(
            "--split-column",
            help="Table column that says what is held out: its name, 'fold:test=0' to say which of "
            "its values are, or none [default: split, is_valid, Usage, … where they are clear].",
        ),
        add_strict_option,
    ):
        command = option(command)
    return command


def add_multi_label_options(f: F) -> F:
    """Add the options for images with several labels, to a command with `add_intake_options`."""
    multi_label = click.option(
        "--multi-label/--no-multi-label",
        default=None,
        help="Whether an image of a table has several labels: names in one cell, a column of 0 and "
        "1 per label, or a line per label.",
    )
    return multi_label(add_label_separator_option(f))


def add_network_options(f: F) -> F:
    """Add the options for where and how a pretrained network runs."""
    runtime = click.option(
        "--runtime",
        default="auto",
        show_default=True,
        help="Inference runtime: torch, openvino, onnxruntime, or auto for the fastest that is "
        "installed. The features are the same.",
    )
    return add_device_option(runtime(f))


def exit_refused(images: Images) -> NoReturn:
    """Print the refused files to standard error and exit with code 1, because of `--strict`."""
    show_intake(images, err=True)
    click.echo("ilk: stopped because files were refused and --strict was given", err=True)
    raise click.exceptions.Exit(1)


def encode_or_exit(
    images: Images,
    encoder: Embeds,
    store: Store,
    *,
    strict: bool,
    known_rows: Mapping[str, Row] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Images:
    """Encode `images`; print the files that cannot be used, and exit if `strict`.

    Returns:
        The images; files that cannot be decoded, and pictures that appear twice or are among
        `known_rows` (by digest), are marked as refused. `ranges` are the value ranges of the
        model, which images of more than 8 bits are read with.
    """
    from ilk.core.progress import terminal_progress
    from ilk.encode import encode_and_refuse
    from ilk.images.model_ranges import use_ranges
    from ilk.updates.side_files import refuse_known_pixels

    known_notes = images.notes
    if ranges is not None:
        images = use_ranges(images, ranges, store, terminal_progress())
    images = encode_and_refuse(images, [encoder], store, progress=terminal_progress())
    _print_notes([note for note in images.notes if note not in known_notes])
    if known_rows:
        images = refuse_known_pixels(images, known_rows)
    if images.refused and strict:
        exit_refused(images)
    if images.refused:
        show_intake(images)
    return images


def read_sentences(path: str) -> tuple[str, ...]:
    """Return the non-empty lines of a text file.

    Raises:
        InputError: The file cannot be read, is not UTF-8 text, or has no sentence.
    """
    from ilk.core.errors import InputError

    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(
            f"{path} cannot be read: {reason}; give a text file with one sentence per line"
        ) from error
    sentences = tuple(line.strip() for line in lines if line.strip())
    if not sentences:
        raise InputError(f"{path} has no sentence; write one per line")
    return sentences
