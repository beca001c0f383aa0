"""What is an image in Python: paths, bytes, open files, Pillow images, arrays; and lists of them.

Every input becomes a path (`str`) or a `Content`; nothing is decoded here. What is not an image,
such as an array of floats, is refused in one sentence, because a guess could be silently wrong.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from io import BytesIO
from itertools import count
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from ilk.core import threaded_map as threads
from ilk.core.errors import InputError
from ilk.core.progress import silent_progress
from ilk.images.decoding.formats import read_header
from ilk.images.decoding.pages import mark_first_page
from ilk.images.finish import finish_rows
from ilk.images.inspection.contents import CHANNEL_MODES, inspect_content, to_content_map
from ilk.images.inspection.files import inspect_file
from ilk.images.inspection.members import Member
from ilk.images.rows import Images, Row
from ilk.images.rows.addresses import is_address
from ilk.images.rows.refused import ImageError
from ilk.images.sources.buckets import open_remote
from ilk.images.sources.kinds import SINGLE_KINDS, drop_stray, find_kind, is_one_image
from ilk.images.sources.listing import Input, ListedInputs, NamedInput, list_source, list_sources
from ilk.images.tables.frames import is_frame, list_paths

ACCEPTED = (
    "an image is a path, the bytes of an image file, an open binary file, a Pillow image or a "
    "uint8 array [h, w] or [h, w, c]"
)
SEVERAL = (
    "several are a list of these, an array [n, h, w, c], a DataFrame with a column of paths, or "
    "what ilk.read returns"
)
REMEDIES = {  # by NumPy's kind of type
    "f": "if its values lie between 0 and 1: (255 * x).round().astype('uint8')",
    "b": "convert it: 255 * x.astype('uint8')",
    "u": "pass the path of a 16-bit PNG or TIFF file, or for grey PIL.Image.fromarray(x), whose "
    "value range is read; for colour: (x // 257).astype('uint8') for values up to 65535",
    "i": "if its values lie between 0 and 255: x.astype('uint8')",
}


def is_single(inputs: Any) -> bool:
    """Whether `inputs` is one image rather than several, such as a folder or an archive."""
    if isinstance(inputs, str | os.PathLike):
        return is_one_image(inputs)
    if isinstance(inputs, bytes | bytearray | memoryview | Image.Image) or hasattr(inputs, "read"):
        return True
    return _is_pixel_array(inputs) and inputs.ndim in (2, 3)


def iter_inputs(inputs: Any) -> Iterator[NamedInput]:
    """Yield the images of `inputs`, one or several, in order; a generator is read as it goes.

    Raises:
        InputError: Something in `inputs` is not an image; the message says what is one.
        NoImages: `inputs` is a folder, archive, table or pattern without files.
    """
    if is_single(inputs):
        content = to_input(inputs, "the image")
        yield (content, content) if isinstance(content, str) else ("image", content)
        return
    if isinstance(inputs, str | os.PathLike | ListedInputs):
        listed = inputs if isinstance(inputs, ListedInputs) else list_sources([inputs])
        yield from listed.inputs
        return
    if isinstance(inputs, Images):
        held = to_content_map(inputs.contents)
        for row in inputs.rows:
            item = held.find_item(row.digest)  # a file of an archive is not read yet
            found = os.fspath(inputs.path_of(row)) if item is None else item
            yield str(inputs.shown_path_of(row)), found
        return
    for i, value in zip(count(), _iter_values(inputs), strict=False):
        name = value.path if isinstance(value, Member) else f"image {i}"
        content = to_input(value, name)
        yield (content, content) if isinstance(content, str) else (name, content)


def _iter_values(inputs: Any) -> Iterable[Any]:
    """Return the items of several images; they are checked one by one later."""
    if isinstance(inputs, list | tuple):
        return _expand_sources(inputs)
    if is_frame(inputs):
        return list_paths(inputs)
    if hasattr(inputs, "__array__"):
        array = _to_array(inputs, "the input")
        if array.dtype.kind in "OUST":
            return _flatten_column(array)
        return _check_pixels(array, "the input", (4,))
    if isinstance(inputs, Mapping | AbstractSet) or not isinstance(inputs, Iterable):
        raise InputError(f"the input is {_describe(inputs)}; {ACCEPTED}; {SEVERAL}")
    return inputs


def to_input(value: Any, name: str) -> Input:
    """Convert one image to a path or a `Content`.

    Args:
        value: A path, bytes, an open binary file, a Pillow image, an array, or a file of an
            archive.
        name: What messages call it.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(value, str | os.PathLike):
        path = str(os.fsdecode(value))  # not a string of NumPy
        return open_remote(path) if is_address(path) else path
    if isinstance(value, Member):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Image.Image):
        return _read_unloaded(value) or value
    if hasattr(value, "read"):
        return _read_file(value, name)
    if hasattr(value, "__array__") and not is_frame(value):
        return _check_pixels(_to_array(value, name), name, (2, 3))
    raise InputError(f"{name} is {_describe(value)}; {ACCEPTED}")


def inspect_inputs(inputs: Iterable[NamedInput], pages: str = "first") -> Images:
    """Return one row per input, in order, each used or refused with the reason.

    With `pages` "all", a file with several pages or frames has a row for each.
    """

    def inspect(named: NamedInput) -> Row:
        name, content = named
        if isinstance(content, str):
            return inspect_file(content)
        return inspect_content(content, Row(name))

    listed = list(inputs)
    with silent_progress("", len(listed)) as advance:
        rows = tuple(threads.map_threaded(inspect, listed, advance))
    in_memory = {i: c for i, (_, c) in enumerate(listed) if not isinstance(c, str)}
    if pages == "first":
        rows = tuple(mark_first_page(row) for row in rows)
    return finish_rows(None, rows, in_memory, {}, pages=pages)


def iter_blocks(
    inputs: Iterable[NamedInput], max_inputs: int, max_bytes: int
) -> Iterator[list[NamedInput]]:
    """Yield lists of up to `max_inputs` inputs that hold about `max_bytes` in memory at most."""
    block: list[NamedInput] = []
    n_bytes = 0
    for named in inputs:
        block.append(named)
        n_bytes += _count_bytes(named[1])
        if len(block) >= max_inputs or n_bytes >= max_bytes:
            yield block
            block, n_bytes = [], 0
    if block:
        yield block


def _count_bytes(content: Input) -> int:
    if isinstance(content, Image.Image):
        return content.width * content.height * len(content.getbands())
    if isinstance(content, np.ndarray):
        return content.nbytes
    return len(content) if isinstance(content, bytes) else 0


def _expand_sources(values: Sequence[Any]) -> Iterable[Any]:
    """Return the values, with the images that folders, tables, archives and patterns stand for."""
    paths = [value for value in values if isinstance(value, str | os.PathLike)]
    kinds = drop_stray(paths, [find_kind(path) for path in paths])
    for value in values:
        if not isinstance(value, str | os.PathLike) or (kind := next(kinds)) in SINGLE_KINDS:
            yield value
            continue
        for _, image in list_source(os.fsdecode(value), kind).inputs:
            yield image


def _is_pixel_array(value: Any) -> bool:
    """Whether `value` is an array, or a tensor that NumPy can read, of numbers."""
    if not hasattr(value, "__array__") or not hasattr(value, "ndim") or is_frame(value):
        return False
    return value.ndim > 1 and not (isinstance(value, np.ndarray) and value.dtype.kind in "OUST")


def _to_array(value: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(value)
    except Exception as error:  # a tensor on a GPU or with gradients
        raise InputError(
            f"{name}, {_describe(value)}, cannot be converted to a NumPy array ({error}); convert "
            "it to a uint8 array in main memory"
        ) from None


def _check_pixels(array: NDArray[Any], name: str, dims: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return `array` if it is uint8 and its shape is that of one image, or of several.

    Raises:
        InputError: It is not.
    """
    if array.dtype != np.uint8:
        remedy = REMEDIES.get(array.dtype.kind, ACCEPTED)
        raise InputError(
            f"{name} is an array of {array.dtype}, but pixels are uint8, 0 to 255; {remedy}"
        )
    is_grey = array.ndim == 2 and 2 in dims
    if is_grey or (array.ndim in dims and array.shape[-1] in CHANNEL_MODES):
        return array
    remedy = f"{ACCEPTED}, c = 1, 3 or 4; several are [n, h, w, c]"
    if array.ndim > 2 and array.shape[-3] in CHANNEL_MODES:
        axes = "1, 2, 0" if array.ndim == 3 else "0, 2, 3, 1"
        remedy = f"channels come last: x.transpose({axes})"
    elif array.ndim == 3 and array.shape[-1] > max(CHANNEL_MODES):
        remedy = "for several grey images, add an axis for the channel: x[..., None]"
    raise InputError(f"{name} is an array of shape {array.shape}; {remedy}")


def _flatten_column(array: NDArray[Any]) -> list[Any]:
    """Return the items of an array of paths or other objects, `[n]` or `[n, 1]`."""
    if array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1):
        return list(array.ravel())
    raise InputError(
        f"the input is an array of shape {array.shape} that holds no pixels; give one column of "
        "paths"
    )


def _read_file(file: Any, name: str) -> bytes:
    """Return the bytes of an open file, from its beginning where it can be rewound."""
    try:
        if hasattr(file, "seekable") and file.seekable():
            file.seek(0)
        content = file.read()
    except (OSError, ValueError) as error:
        raise InputError(f"{name} is an open file that cannot be read: {error}") from None
    if isinstance(content, str):
        raise InputError(f"{name} is a file opened as text; open it as bytes: open(path, 'rb')")
    return bytes(content)


def _read_unloaded(image: Image.Image) -> bytes | None:
    """Return the file of a Pillow image whose pixels were never loaded, or None.

    Pillow would keep the pixels in the caller's image; and only the file tells whether it is whole.
    """
    file = getattr(image, "fp", None)
    is_unloaded = isinstance(image, ImageFile.ImageFile) and bool(image.tile)
    if file is None or not is_unloaded or getattr(image, "tell", int)() != 0:
        return None
    try:
        position = file.tell()
        file.seek(0)
        content = file.read()
        file.seek(position)
        header = read_header(BytesIO(content))
    except (OSError, ValueError, AttributeError, ImageError):
        return None
    is_same = (header.size, header.mode) == (image.size, image.mode)  # `draft` changes them
    return bytes(content) if is_same else None


def _describe(value: Any) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    article = "an" if name[0] in "aeiouAEIOU" else "a"
    return f"{value}, {article} {name}" if isinstance(value, Number) else f"{article} {name}"
