"""The intake room: what lies in a folder or a table, and pixels from files.

Every file ends in exactly one row, used or refused with its reason; no image stands for another.
"""

from __future__ import annotations

from ilk.images.decode import MAX_PIXELS, decode, thumbnail
from ilk.images.files import inspect
from ilk.images.intake import read
from ilk.images.layout import empty_folders, listing
from ilk.images.refused import Refused
from ilk.images.rows import REASONS, Images, Row, shown
from ilk.images.verdicts import folded

__all__ = [
    "MAX_PIXELS",
    "REASONS",
    "Images",
    "Refused",
    "Row",
    "decode",
    "empty_folders",
    "folded",
    "inspect",
    "listing",
    "read",
    "shown",
    "thumbnail",
]
