"""Intake: list the images of a folder or table, and decode them.

Every file ends in exactly one row, used or refused with a reason; no image is ever substituted for
another.
"""

from __future__ import annotations

from ilk.images.decode import MAX_PIXELS, decode, decode_thumbnail
from ilk.images.duplicates import normalize_class_name
from ilk.images.files import inspect_file
from ilk.images.groups import count_groups, describe_groups, number_row_groups
from ilk.images.inputs import (
    inspect_inputs,
    is_single,
    iter_blocks,
    iter_inputs,
)
from ilk.images.intake import read_images, verify_images
from ilk.images.label_columns import describe_separator
from ilk.images.label_values import parse_labels
from ilk.images.layout import find_empty_folders, list_files
from ilk.images.refused import ImageError
from ilk.images.rows import REASONS, Content, Images, Row, escape_path
from ilk.images.sources import ListedInputs, NamedInput, list_sources
from ilk.images.spellings import adopt_spellings, match_class_names

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
