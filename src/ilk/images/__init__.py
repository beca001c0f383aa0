"""Intake: list the images of a folder or table, and decode them.

Every file ends in exactly one row, used or refused with a reason; no image is ever substituted for
another. `intake` reads a whole source, `inputs` what a program has in memory; both end in `finish`.

| folder | what it holds, from the ground up |
|---|---|
| `rows/` | the result of intake: `Row` per image, `Images` for a source |
| `annotations/` | what is known besides pixels: labels, groups, splits |
| `decoding/`, `readers/` | bytes to 8-bit RGB; one file per format that Pillow does not read |
| `inspection/` | one image before it is decoded: digest, size, header |
| `value_ranges/` | which stored values of images of more than 8 bits are black and white |
| `duplicates/` | the same bytes, the same pixels, near-duplicates |
| `tables/` | tables, lists and DataFrames that name images |
| `sources/` | folders, archives, patterns, standard input; what is left out |
"""

from __future__ import annotations

from ilk.images.annotations.group_counts import count_groups, describe_groups, number_row_groups
from ilk.images.annotations.label_columns import describe_separator
from ilk.images.annotations.label_values import parse_labels
from ilk.images.annotations.spellings import adopt_spellings, match_class_names
from ilk.images.annotations.unify_spellings import normalize_class_name
from ilk.images.decoding.decode import MAX_PIXELS, decode, decode_thumbnail
from ilk.images.inputs import (
    inspect_inputs,
    is_single,
    iter_blocks,
    iter_inputs,
)
from ilk.images.inspection.files import inspect_file
from ilk.images.intake import read_images
from ilk.images.rows import REASONS, Content, Images, Row, escape_path
from ilk.images.rows.refused import ImageError
from ilk.images.sources.layout import find_empty_folders, list_files
from ilk.images.sources.listing import ListedInputs, NamedInput, list_sources
from ilk.images.verify import verify_images

__all__ = [
    "MAX_PIXELS",
    "REASONS",
    "Content",
    "ImageError",
    "Images",
    "ListedInputs",
    "NamedInput",
    "Row",
    "adopt_spellings",
    "count_groups",
    "decode",
    "decode_thumbnail",
    "describe_groups",
    "describe_separator",
    "escape_path",
    "find_empty_folders",
    "inspect_file",
    "inspect_inputs",
    "is_single",
    "iter_blocks",
    "iter_inputs",
    "list_files",
    "list_sources",
    "match_class_names",
    "normalize_class_name",
    "number_row_groups",
    "parse_labels",
    "read_images",
    "verify_images",
]
