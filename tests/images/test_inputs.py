"""Images in memory: every form of one image gives the same features, and nothing else passes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.frames import Frame
from ilk.core.errors import InputError, NoImages
from ilk.encode import encode_images
from ilk.encoders.hog import HogEncoder
from ilk.images import Images, Row, inspect_inputs, is_single, iter_blocks, iter_inputs, read_images
from ilk.images.pixels import PixelEncoder
from ilk.store import Store

GENERATOR = np.random.default_rng(0)
RGB = GENERATOR.integers(0, 256, (20, 30, 3), np.uint8)
ORIENTATION = 0x0112
STYLES = ("pandas", "polars", "pyarrow")


def palette_with_transparency() -> Image.Image:
    image = Image.fromarray(RGB).quantize(16)
    image.info["transparency"] = 3
    return image


MODES: dict[str, Callable[[], Image.Image]] = {
    "RGB": lambda: Image.fromarray(RGB),
    "L": lambda: Image.fromarray(RGB[..., 0]),
    "1": lambda: Image.fromarray(RGB[..., 0]).convert("1"),
    "LA": lambda: Image.merge("LA", [Image.fromarray(RGB[..., i]) for i in (0, 1)]),
    "RGBA": lambda: Image.fromarray(np.dstack([RGB, RGB[..., 0]])),
    "P": palette_with_transparency,
    "I;16": lambda: Image.fromarray(RGB[..., 0].astype(np.uint16) * 200),
}


@pytest.fixture
def open_image() -> Iterator[Callable[[Path], Image.Image]]:
    """Open an image with Pillow, without loading its pixels; it is closed in the end."""
    with ExitStack() as opened:
        yield lambda file: opened.enter_context(Image.open(file))


def embed(inputs: Any, store: Path) -> np.ndarray:
    """Features `[n, d]` of images, as a classifier computes them."""
    encoders, database = (HogEncoder(32), PixelEncoder(8, 8, 3)), Store(store / "store.sqlite")
    images = inspect_inputs(iter_inputs(inputs))
    assert encode_images(images, encoders, database) == {}
    digests = [row.digest for row in images.used]
    assert len(digests) == len(images.rows)
    return np.hstack([database.get(encoder.space, digests) for encoder in encoders])


def save(image: Image.Image, path: Path, **options: Any) -> Path:
    image.save(path, **options)
    return path


def refusals(inputs: Any) -> list[tuple[str, str]]:
    return [(row.reason, row.detail) for row in inspect_inputs(iter_inputs(inputs)).rows]


@pytest.mark.parametrize("mode", MODES)
def test_a_file_its_bytes_and_its_pillow_image_give_the_same_features(mode, tmp_path, open_image):
    file = save(MODES[mode](), tmp_path / "a.png")
    loaded, copied = open_image(file), open_image(file).copy()
    loaded.load()
    assert loaded.mode == mode
    forms = [file, str(file), file.read_bytes(), open_image(file), loaded, copied]
    features = embed(forms, tmp_path)
    assert (features == features[0]).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_an_array_gives_the_features_of_the_file_with_its_values(mode, tmp_path):
    file = save(MODES[mode](), tmp_path / "a.png")
    array = np.asarray(MODES[mode]())
    columns_first = np.asfortranarray(array)
    forms = [file, array, columns_first, array[..., None] if mode == "L" else array]
    features = embed(forms, tmp_path)
    assert (features == features[0]).all()
    assert (features[0] != embed([255 - array], tmp_path)[0]).any()


def test_a_file_object_is_read_from_its_beginning_and_left_open(tmp_path):
    file = save(MODES["RGB"](), tmp_path / "a.png")
    buffer = BytesIO()
    MODES["RGB"]().save(buffer, "png")  # the position is now at the end
    with file.open("rb") as opened:
        opened.read(10)
        features = embed([file, buffer, opened, bytearray(file.read_bytes())], tmp_path)
        assert not opened.closed
    assert (features == features[0]).all()


def test_a_jpeg_turned_by_its_camera_is_upright_in_every_form(tmp_path, open_image):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    file = save(Image.fromarray(RGB), tmp_path / "a.jpg", exif=exif, quality=95)
    loaded = open_image(file)
    loaded.load()
    features = embed([file, file.read_bytes(), open_image(file), loaded], tmp_path)
    assert (features == features[0]).all()
    stored = np.asarray(open_image(file))
    turned = embed([np.rot90(stored, -1)], tmp_path)
    assert (features[0] == turned[0]).all()
    assert (features[0] != embed([stored], tmp_path)[0]).any()


def test_bytes_have_the_digest_of_their_file_so_nothing_is_encoded_twice(tmp_path, open_image):
    file = save(MODES["RGB"](), tmp_path / "a.png")
    rows = inspect_inputs(iter_inputs([file, file.read_bytes(), open_image(file)])).rows
    assert len({row.digest for row in rows}) == 1
    assert {(row.width, row.height, row.mode, row.format) for row in rows} == {
        (30, 20, "RGB", "PNG")
    }
    pixels = inspect_inputs(iter_inputs([RGB, Image.fromarray(RGB), RGB.reshape(30, 20, 3)])).rows
    assert pixels[0].digest == pixels[1].digest != pixels[2].digest != rows[0].digest
    assert [(row.width, row.height) for row in pixels] == [(30, 20), (30, 20), (20, 30)]
    assert [row.path for row in pixels] == ["image 0", "image 1", "image 2"]


def test_an_image_that_pillow_has_not_loaded_is_read_as_its_file_and_stays_unloaded(
    tmp_path, open_image
):
    file = save(Image.fromarray(np.tile(RGB, (9, 9, 1))), tmp_path / "a.jpg")
    image = open_image(file)
    assert inspect_inputs(iter_inputs(image)).rows[0].format == "JPEG"
    assert image.tile
    image.load()
    assert image.size == (270, 180)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(file.read_bytes()[:-4000])
    [(reason, _)] = refusals(open_image(cut))
    embedded = inspect_inputs(iter_inputs(open_image(cut)))
    failures = encode_images(embedded, [HogEncoder(32)], Store(tmp_path / "store.sqlite"))
    assert reason == ""
    assert [r for r, _ in failures.values()] == ["truncated"]


def test_a_frame_that_was_chosen_or_a_draft_is_the_image_meant(tmp_path, open_image):
    first, second = Image.fromarray(RGB[..., 0]), Image.fromarray(255 - RGB[..., 0])
    file = save(first, tmp_path / "a.gif", save_all=True, append_images=[second])
    image = open_image(file)
    image.seek(1)
    plain = embed([second], tmp_path)
    assert np.abs(embed([image], tmp_path) - plain).max() < 0.1
    draft = open_image(save(Image.fromarray(np.tile(RGB, (8, 8, 1))), tmp_path / "b.jpg"))
    draft.draft("L", (60, 40))
    row = inspect_inputs(iter_inputs(draft)).rows[0]
    assert (row.mode, row.width) == ("L", draft.width)


def test_an_image_that_changes_after_it_was_listed_is_refused(tmp_path):
    changing = RGB.copy()
    images = inspect_inputs(iter_inputs([changing, RGB[::-1]]))
    changing[3] = 0
    failures = encode_images(images, [HogEncoder(32)], Store(tmp_path / "store.sqlite"))
    assert list(failures) == [images.rows[0].digest]
    assert "has changed" in failures[images.rows[0].digest][1]


def test_order_and_number_of_inputs_are_kept(tmp_path):
    file = save(MODES["L"](), tmp_path / "a.png")
    mixed = [RGB, tmp_path / "none.png", b"", file, b"no image at all", Image.new("L", (0, 5)), RGB]
    rows = inspect_inputs(iter_inputs(iter(mixed))).rows
    assert [row.reason for row in rows] == [
        "", "missing", "empty", "", "not an image", "unreadable", ""
    ]  # fmt: skip
    assert rows[0].digest == rows[6].digest
    assert rows[1].path == str(tmp_path / "none.png")
    assert rows[5].detail == "0 × 5 pixels"


def test_too_many_pixels_in_memory_are_refused_as_in_a_file():
    wide = np.broadcast_to(np.uint8(0), (20_000, 20_000))
    assert refusals(wide) == [("too large", "20000 × 20000 pixels; 128,000,000 are allowed")]


def test_a_closed_or_cut_image_is_a_refused_row_not_a_traceback(tmp_path, open_image):
    file = save(MODES["RGB"](), tmp_path / "a.png")
    closed = open_image(file)
    closed.close()
    [(reason, detail)] = refusals(closed)
    assert reason == "unreadable"
    assert "closed" in detail


def test_what_stands_for_one_image_and_what_for_several(tmp_path):
    file = save(MODES["RGB"](), tmp_path / "a.png")
    single = [file, str(file), b"x", BytesIO(), Image.fromarray(RGB), RGB, RGB[..., 0]]
    assert all(map(is_single, single))
    several = [[file], (RGB,), RGB[None], np.array([str(file)]), tmp_path, Frame({"path": []})]
    assert not any(map(is_single, [*several, Images(None, ())]))
    assert [name for name, _ in iter_inputs(RGB)] == ["image"]
    assert [name for name, _ in iter_inputs(RGB[None])] == ["image 0"]


def test_a_stack_of_images_is_read_along_its_first_axis(tmp_path):
    stack = np.stack([RGB, RGB[::-1], 255 - RGB])
    assert (embed(stack, tmp_path) == embed(list(stack), tmp_path)).all()
    assert list(iter_inputs(stack[:0])) == []


def test_arrays_of_paths_are_paths(tmp_path):
    file = str(save(MODES["RGB"](), tmp_path / "a.png"))
    for paths in (np.array([file] * 2), np.array([file] * 2, object), np.array([[file]] * 2)):
        named = list(iter_inputs(paths))
        assert named == [(file, file)] * 2
        assert type(named[0][0]) is str
    with pytest.raises(InputError, match=r"shape \(2, 2\) .* one column of paths"):
        list(iter_inputs(np.array([[file, "cat"]] * 2)))


def test_a_folder_stands_for_its_files_sorted(tmp_path):
    for name in ("b", "a"):
        save(MODES["RGB"](), tmp_path / f"{name}.png")
    (tmp_path / ".DS_Store").write_bytes(b"")
    assert [Path(p).name for p, _ in iter_inputs(tmp_path)] == ["a.png", "b.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoImages, match="there is no file in"):
        list(iter_inputs(tmp_path / "empty"))


class Tensor:
    """Converts to an array as tensors of torch do, or fails as those on a GPU do."""

    def __init__(self, array: np.ndarray, *, fails: bool = False) -> None:
        self.array, self.fails, self.ndim = array, fails, array.ndim

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if self.fails:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return self.array


def test_tensors_are_taken_as_the_arrays_they_convert_to(tmp_path):
    assert (embed(Tensor(RGB), tmp_path) == embed(RGB, tmp_path)).all()
    assert (embed([Tensor(RGB)], tmp_path) == embed(RGB, tmp_path)).all()
    assert (embed(Tensor(RGB[None]), tmp_path) == embed(RGB, tmp_path)).all()


FLOATS = RGB.astype(np.float32) / 255
REFUSED = {
    "floats": (FLOATS, r"the image is an array of float32, .* \(255 \* x\)\.round\(\)\.astype"),
    "floats in a list": ([RGB, FLOATS], "image 1 is an array of float32"),
    "a stack of floats": (FLOATS[None], "the input is an array of float32"),
    "truth values": (RGB[..., 0] > 9, r"array of bool.* 255 \* x.astype"),
    "16 bits": (RGB.astype(np.uint16), "x // 257"),
    "integers": (RGB.astype(np.int64), r"int64, .* x.astype\('uint8'\)"),
    "channels first": (RGB.transpose(2, 0, 1), r"come last: x.transpose\(1, 2, 0\)"),
    "channels first, several": (RGB.transpose(2, 0, 1)[None], r"x.transpose\(0, 2, 3, 1\)"),
    "grey images": (RGB.transpose(1, 0, 2).repeat(9, 2), r"shape \(30, 20, 27\).* x\[\.\.\., None"),
    "two channels": (RGB[..., :2], r"shape \(20, 30, 2\); .* c = 1, 3 or 4"),
    "five axes": (RGB[None, None], "shape"),
    "a row of numbers": (np.arange(5, dtype=np.uint8), r"shape \(5,\)"),
    "None": (None, "the input is None; an image is a path, .* several are a list"),
    "a number": (3, "the input is 3, an int;"),
    "None in a list": ([RGB, None], "image 1 is None; an image is a path"),
    "lists of numbers": ([[1, 2], [3, 4]], "image 0 is a list;"),
    "a dictionary": ({"path": "a.png"}, "the input is a dict;"),
    "a set": ({"a.png", "b.png"}, "the input is a set;"),
    "a class": (Image, "the input is a module;"),
    "a GPU's tensor": (Tensor(RGB, fails=True), "cannot be converted to a NumPy array .*cuda:0"),
    "no column of paths": (Frame({"a": ["x"]}), r"no column of paths .* columns are: a; .* df\["),
    "a missing path": (Frame({"path": ["x", None]}), "line 1: None where a path should be"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_image_gets_one_sentence(what):
    value, sentence = REFUSED[what]
    with pytest.raises(InputError, match=sentence) as refused:
        inspect_inputs(iter_inputs(value))
    assert "\n" not in str(refused.value)


def test_files_opened_as_text_or_closed_get_one_sentence(tmp_path):
    file = save(MODES["RGB"](), tmp_path / "a.png")
    with file.open(encoding="latin-1") as text, pytest.raises(InputError, match=r"'rb'"):
        list(iter_inputs(text))
    with file.open("rb") as closed:
        pass
    with pytest.raises(InputError, match=r"cannot be read: .*closed"):
        list(iter_inputs(closed))


@pytest.mark.parametrize("style", STYLES)
def test_the_paths_of_a_data_frame_are_its_images(style, tmp_path):
    file = save(MODES["RGB"](), tmp_path / "a.png")
    frame = Frame({"label": ["cat", "dog"], "File": [str(file), file]}, style)
    assert list(iter_inputs(frame)) == [(str(file), str(file))] * 2


@pytest.mark.parametrize("style", STYLES)
def test_a_data_frame_is_read_as_a_table(style, tmp_path):
    files = [save(Image.fromarray(RGB + i), tmp_path / f"{i}.png") for i in range(4)]
    frame = Frame(
        {
            "image": files,
            "class": ["cat", 3.0, None, float("nan")],
            "split": ["train", "test", "", None],
        },
        style,
    )
    rows = read_images(frame).rows
    assert [(Path(row.path), row.label, row.split) for row in rows] == [
        (files[0], "cat", "train"),
        (files[1], "3", "test"),
        (files[2], None, "train"),
        (files[3], None, "train"),
    ]
    named = Frame({"where": files, "what": ["a", "a", "b", "b"]}, style)
    read = read_images(named, path_column="where", label_column="what")
    assert read.classes == ("a", "b")
    with pytest.raises(InputError, match="the DataFrame has no column of paths"):
        read_images(named)
    with pytest.raises(InputError, match="the DataFrame has its own"):
        read_images(frame, labels=["a"] * 4)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_data_frames_of_the_libraries_themselves(library, tmp_path):
    module = pytest.importorskip(library)
    files = [str(save(Image.fromarray(RGB + i), tmp_path / f"{i}.png")) for i in range(3)]
    columns = {"path": files, "label": ["a", None, "b"]}
    frame = module.table(columns) if library == "pyarrow" else module.DataFrame(columns)
    assert [name for name, _ in iter_inputs(frame)] == files
    assert [row.label for row in read_images(frame).rows] == ["a", None, "b"]
    if library == "pandas":
        labels = module.Series(["a", module.NA, "b"], dtype="string")
        assert [r.label for r in read_images(frame["path"], labels=labels).rows] == ["a", None, "b"]
        numbers = frame.assign(label=module.array([1, None, 2], dtype="Int64"))
        assert [row.label for row in read_images(numbers).rows] == ["1", None, "2"]
        twice = module.DataFrame([[files[0], "x"]], columns=["path", "path"])
        with pytest.raises(InputError, match="several columns called 'path'"):
            list(iter_inputs(twice))


def test_read_lists_images_in_memory_with_labels(tmp_path):
    file = save(MODES["L"](), tmp_path / "a.png")
    images = read_images([RGB, file, b"junk", Image.fromarray(RGB), 255 - RGB], labels=[*"abcab"])
    assert [(row.path, row.label, row.reason) for row in images.rows] == [
        ("image 0", "a", ""),
        (str(file), "b", ""),
        ("image 2", "c", "not an image"),
        ("image 3", "a", "duplicate"),
        ("image 4", "b", ""),
    ]
    assert images.rows[3].detail == "of image 0"
    first = images.select_split("train").source_of(images.rows[0])
    assert isinstance(first, Image.Image | np.ndarray)
    assert images.source_of(images.rows[1]) == file
    assert images == Images(None, images.rows)
    assert "contents" not in repr(images)
    assert images.find_content(Path("image 4")) is not None
    assert images.find_content(file) is None


def test_what_reading_refuses_in_one_sentence(tmp_path):
    images = read_images([RGB], labels=["a"])
    with pytest.raises(InputError, match="already read"):
        read_images(images)
    with pytest.raises(InputError, match="the text 'cat'"):
        read_images([RGB, RGB, RGB], labels="cat")
    for label in ({"a": 1}, np.zeros((2, 2)), object()):
        with pytest.raises(InputError, match=r"^the label .* is of type \w+; labels are text or"):
            read_images([RGB], labels=[label])


def test_a_block_ends_at_a_number_of_inputs_or_of_bytes():
    inputs = [("a", "a"), ("b", b"12345"), ("c", b"12345"), ("d", "d"), ("e", "e"), ("f", "f")]
    blocks = [[name for name, _ in block] for block in iter_blocks(inputs, 3, 10)]
    assert blocks == [["a", "b", "c"], ["d", "e", "f"]]
    blocks = [[name for name, _ in block] for block in iter_blocks(inputs, 4, 5)]
    assert blocks == [["a", "b"], ["c"], ["d", "e", "f"]]
    image = Image.new("RGB", (4, 5))
    assert [len(b) for b in iter_blocks([("", image), ("", RGB)] * 2, 9, 61)] == [2, 2]
    assert list(iter_blocks([], 3, 10)) == []


def test_a_generator_of_images_is_not_held_in_memory():
    alive: list[weakref.ref[np.ndarray]] = []

    def generate() -> Iterator[np.ndarray]:
        for i in range(40):
            array = RGB + np.uint8(i)
            alive.append(weakref.ref(array))
            yield array
            del array

    most = 0
    for block in iter_blocks(iter_inputs(generate()), 1000, 5 * RGB.nbytes):
        images = inspect_inputs(block)
        assert len(images.used) == 5
        del block, images
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
    assert len(alive) == 40
    assert most <= 6


def test_rows_of_images_stand_for_their_files_or_contents(tmp_path):
    file = save(MODES["RGB"](), tmp_path / "a.png")
    copy = save(MODES["RGB"](), tmp_path / "copy.png")
    images = read_images([file, copy, RGB[::-1]])
    assert [row.status for row in images.rows] == ["used", "refused", "used"]
    again = inspect_inputs(iter_inputs(images))
    assert [row.status for row in again.rows] == ["used"] * 3
    assert [row.digest for row in again.rows] == [row.digest for row in images.rows]
    in_folder = Images(tmp_path, (Row("a.png"), Row("gone.png")))
    assert [row.reason for row in inspect_inputs(iter_inputs(in_folder)).rows] == ["", "missing"]
