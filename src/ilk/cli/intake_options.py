"""`IntakeOptions`: how a command reads the images of its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ilk.cli.output import exit_refused, print_notes

if TYPE_CHECKING:
    from ilk.images import Images, ListedInputs
    from ilk.store import Store


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
        store: Store | None,
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
            check_source(source),
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
        where = "" if store is None else store.note
        print_notes((*images.notes, hint, *describe_groups(images.used), where))
        if self.strict and images.refused:
            exit_refused(images)
        return images

    def choose_range(self, ranges: Mapping[str, tuple[float, float]] | None) -> Any:
        """Return the value range to read with: that of the model, else that of the options.

        Raises:
            InputError: The two differ.
        """
        from ilk.core.errors import InputError
        from ilk.images.value_ranges.value_range import parse_value_range

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
        """Return the images that `sources` stand for, in order; print what there is to know.

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
        print_notes(listed.notes)
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
            listed = self.list_inputs([check_source(source)])
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
        print_notes([*notes, *describe_groups(images.used), store.note])
        return images


def check_source(source: str) -> str:
    """Return `source` if there is something to read under its name.

    Raises:
        InputError: There is no such file or folder, and it is not a pattern.
    """
    from ilk.images.sources.kinds import find_kind, make_missing_error

    if find_kind(source) == "missing":
        raise make_missing_error(source)
    return source
