"""Archives are read as the folder that they would unpack to, without unpacking them."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from helpers.archives import FORMATS, make_classes, make_png, write_archive, write_folder
from ilk.core.errors import IlkError, InputError, OutputError, Unavailable
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.images import Images, ListedInputs, inspect_inputs, list_sources, read_images
from ilk.images.inspection import members as bounds
from ilk.images.sources import tar_archive
from ilk.images.sources.archives import find_wrapper, open_archive
from ilk.store import Store

LAYOUTS = {
    "classes": make_classes(2),
    "splits": {f"{s}/{n}": c for s in ("train", "test") for n, c in make_classes(1).items()}
    | {"train/dark/8.png": make_png(8), "test/light/9.png": make_png(9)},
    "unlabelled": {"1.png": make_png(1), "2.png": make_png(2)},
    "metadata": {
        "a/1.png": make_png(1),
        "a/2.png": make_png(2),
        "metadata.csv": b"file_name,label\na/1.png,x\na/2.png,y\na/3.png,y\n",
    },
    "system files": {"cat/1.png": make_png(1), "cat/.DS_Store": b"x", "__MACOSX/cat/._1.png": b"x"},
}


def summarize(images: Images) -> list[tuple[str, str | None, str, str, str]]:
    return [(r.path, r.label, r.split, r.status, r.digest) for r in images.rows]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_archive_is_read_as_the_folder(layout: str, suffix: str, tmp_path: Path) -> None:
    files = LAYOUTS[layout]
    folder = read_images(write_folder(tmp_path / "photos", files), verify=False)
    archive = write_archive(tmp_path / f"photos{suffix}", files)
    before = sorted(os.listdir(tmp_path))
    images = read_images(archive)
    assert summarize(images) == summarize(folder)
    assert sorted(os.listdir(tmp_path)) == before  # nothing is unpacked beside it
    assert images.path_of(images.used[0]) == archive / images.used[0].path
    content = images.source_of(images.used[0])
    assert content == files[images.used[0].path]


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_the_folder_that_holds_everything_is_the_folder(suffix: str, tmp_path: Path) -> None:
    files = {f"photos 2024/{name}": content for name, content in LAYOUTS["splits"].items()}
    archive = write_archive(tmp_path / f"p{suffix}", files | {"__MACOSX/._x": b"x"})
    images = read_images(archive, verify=False)
    assert images.classes == ("dark", "light")
    assert {row.split for row in images.used} == {"train", "test"}
    assert images.root == archive / "photos 2024"
    assert "photos 2024/ in " in images.notes[0]


def test_a_class_or_a_split_is_no_wrapper() -> None:
    assert find_wrapper(["cat/1.png", "cat/2.png"]) == ""
    assert find_wrapper(["test/cat/1.png", "test/dog/2.png"]) == ""
    assert find_wrapper(["a/b/cat/1.png", "a/b/dog/2.png"]) == "a/b"
    assert find_wrapper(["a/metadata.csv", "a/1.png"]) == "a"
    assert find_wrapper(["a/cat/1.png", "1.png"]) == ""
    assert find_wrapper([]) == ""


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_names_that_lead_out_of_the_archive_are_refused(suffix: str, tmp_path: Path) -> None:
    png = make_png(1)
    (tmp_path / "evil.png").write_bytes(make_png(2))
    names = ["../evil.png", "cat/../../evil.png", "/evil.png", "C:/evil.png"]
    archive = write_archive(
        tmp_path / f"in{suffix}", {"cat/1.png": png, **dict.fromkeys(names, png)}
    )
    images = read_images(archive)
    assert [row.path for row in images.used] == ["cat/1.png"]
    assert {row.path: row.detail for row in images.refused} == dict.fromkeys(
        names, "its name leads out of the archive"
    )


def test_a_table_in_an_archive_reaches_no_file_outside(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(make_png(2))
    table = f"file_name,label\na.png,x\n../secret.png,y\n{tmp_path}/secret.png,y\nb.png,y\n"
    files = {"a.png": make_png(1), "b.png": make_png(3), "metadata.csv": table.encode()}
    images = read_images(write_archive(tmp_path / "in.zip", files))
    assert [row.path for row in images.used] == ["a.png", "b.png"]
    assert {row.reason for row in images.refused} == {"missing"}


def encrypt(path: Path, names: set[str]) -> None:
    """Set the flag of encryption of some files of a zip archive."""
    data = bytearray(path.read_bytes())
    for signature, flags, length, name_at in ((b"PK\3\4", 6, 26, 30), (b"PK\1\2", 8, 28, 46)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            n = struct.unpack_from("<H", data, at + length)[0]
            if data[at + name_at : at + name_at + n].decode() in names:
                data[at + flags] |= 1
    path.write_bytes(data)


def test_encrypted_files_are_refused_and_an_encrypted_archive_too(tmp_path: Path) -> None:
    files = make_classes(2)
    archive = write_archive(tmp_path / "in.zip", files)
    encrypt(archive, {"dark/0.png"})
    images = read_images(archive)
    assert [(r.path, r.detail) for r in images.refused] == [
        ("dark/0.png", "encrypted; unpack the archive with its password")
    ]
    encrypt(archive, set(files))
    with pytest.raises(InputError, match=r"in\.zip is encrypted; unpack it with its password"):
        read_images(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_of_two_files_of_one_name_the_last_is_used(suffix: str, tmp_path: Path) -> None:
    first, last = make_png(1), make_png(2)
    path = tmp_path / f"in{suffix}"
    write_archive(path, {"cat/1.png": first, "dog/1.png": make_png(3)})
    if suffix == ".zip":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("cat/1.png", last)
    else:
        with tarfile.open(path, "a") as archive:
            info = tarfile.TarInfo("cat/1.png")
            info.size = len(last)
            archive.addfile(info, io.BytesIO(last))
    images = read_images(path)
    used = {row.path: images.source_of(row) for row in images.used}
    assert used["cat/1.png"] == last
    assert [r.detail for r in images.refused] == ["a later file of the archive has the same name"]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    zeros = make_png(1) + bytes(2**26)
    write_archive(path, {"cat/1.png": make_png(1), "cat/bomb.png": zeros})
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    images = read_images(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
    [row] = images.refused
    assert row.path == "cat/bomb.png"
    assert "made to fill memory" in row.detail


def test_a_file_larger_than_allowed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_MEMBER_BYTES", 1000)
    large = make_png(2, side=64)
    for suffix in (".zip", ".tar.gz"):
        files = {"cat/1.png": make_png(1), "cat/2.png": large}
        images = read_images(write_archive(tmp_path / f"in{suffix}", files))
        assert [(r.reason, r.path) for r in images.refused] == [("too large", "cat/2.png")]


def test_files_that_overlap_are_refused(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "in.zip", {f"{i}.png": os.urandom(3000) for i in range(9)})
    data = bytearray(path.read_bytes())
    at = -1
    while (at := data.find(b"PK\1\2", at + 1)) >= 0:  # all entries point to the first file
        struct.pack_into("<I", data, at + 42, 0)
        struct.pack_into("<II", data, at + 20, 30_000, 30_000)
    path.write_bytes(data)
    with pytest.raises(InputError, match="overlap"):
        open_archive(path)


def test_a_size_that_lies_reads_no_more_than_it_says(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "in.zip", {"1.png": make_png(1), "2.png": make_png(2) * 50})
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\1\2")
    struct.pack_into("<I", data, at + 24, 10)
    path.write_bytes(data)
    images = read_images(path)
    assert [(r.path, r.reason) for r in images.refused] == [("2.png", "unreadable")]


def test_a_tar_archive_that_unpacks_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_archive(tmp_path / "in.tar.gz", {"1.png": bytes(100_000)})
    monkeypatch.setattr(tar_archive, "MIN_UNPACKED", 10_000)
    with pytest.raises(InputError, match="made to fill the disk"):
        open_archive(path)
    monkeypatch.undo()
    monkeypatch.setattr(tar_archive, "FREE_BYTES", 2**62)
    with pytest.raises(OutputError, match="set TMPDIR"):
        open_archive(path)


def test_no_temporary_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    images = read_images(write_archive(tmp_path / "in.tar.xz", make_classes(1)))
    assert images.source_of(images.used[0])
    if os.name == "posix":  # it has no name, so that a killed process leaves none either
        assert list(temporary.iterdir()) == []


def test_links_and_other_kinds_in_a_tar_archive(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "in.tar", {"cat/1.png": make_png(1), "dog/2.png": make_png(2)})
    with tarfile.open(path, "a") as archive:
        for name, kind, target in (
            ("cat/hard.png", tarfile.LNKTYPE, "cat/1.png"),
            ("cat/soft.png", tarfile.SYMTYPE, "/etc/passwd"),
            ("cat/pipe.png", tarfile.FIFOTYPE, ""),
            ("cat/lost.png", tarfile.LNKTYPE, "none.png"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
    images = read_images(path)
    details = {row.path: row.detail for row in images.refused}
    assert details["cat/hard.png"] == "of cat/1.png"  # the same bytes: read through the link
    assert details["cat/soft.png"] == details["cat/lost.png"]
    assert details["cat/soft.png"] == "a link, which is not followed in an archive"
    assert details["cat/pipe.png"] == "no file in an archive"


def test_a_tar_archive_that_is_cut_or_damaged_in_the_middle_loses_nothing_in_silence(
    tmp_path: Path,
) -> None:
    path = write_archive(tmp_path / "in.tar", make_classes(4))
    data = path.read_bytes()
    with tarfile.open(path) as archive:
        third, fourth = archive.getmembers()[2:4]
    path.write_bytes(data[: third.offset_data + 10])
    with pytest.raises(InputError, match="damaged or cut off"):
        read_images(path)
    header = bytearray(data)
    header[fourth.offset] ^= 0xFF  # tarfile takes this for the end
    path.write_bytes(header)
    with pytest.raises(InputError, match="damaged or cut off"):
        read_images(path)
    packed = gzip.compress(data)
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="damaged or cut off"):
        read_images(cut)


def test_names_without_an_encoding(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "in.zip", {"café/1.png": make_png(1), "b/2.png": make_png(2)})
    data = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = -1
        while (at := data.find(signature, at + 1)) >= 0:
            data[at + flags + 1] &= ~0x08
    path.write_bytes(data)
    images = read_images(path)
    assert images.classes == ("b", "café")
    assert images.notes == ()
    path.write_bytes(data.replace("café".encode(), b"caf\x82_"))
    images = read_images(path)
    assert images.classes == ("b", "café_")
    assert "code page 437" in images.notes[0]


def test_an_archive_of_another_kind_or_none(tmp_path: Path) -> None:
    for name, kind in (("a.7z", "7-Zip"), ("b.rar", "RAR")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(InputError, match=f"is a {kind} archive, which is not read; unpack it"):
            read_images(tmp_path / name)
    for name, text in (("a.zip", "not a readable zip archive"), ("b.tar.gz", "not a tar archive")):
        for content in (b"", b"hello", b"PK\3\4", b"\x1f\x8b", bytes(10_240)):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(InputError, match=f"{text}|is empty"):
                read_images(tmp_path / name)
    (tmp_path / "c.tar.zst").write_bytes(b"\x28\xb5\x2f\xfdxxxx")
    with pytest.raises((Unavailable, InputError), match=r"from version 3\.14 on|damaged"):
        read_images(tmp_path / "c.tar.zst")


def test_an_archive_that_changes_is_noticed(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "in.tar", {"1.png": make_png(1, side=90)})  # no buffer holds it
    images = read_images(path, verify=False)
    row = images.used[0]
    write_archive(path, {"1.png": make_png(2, side=90)})
    encoder = resolve_encoder("pixels/8x8x3")
    failures = encode_images(images, [encoder], Store(tmp_path / "s.sqlite"))
    assert failures[row.digest][0] == "unreadable"
    assert "changed" in failures[row.digest][1]
    assert images.find_content(images.path_of(row)) == b""


def test_features_are_those_of_the_files(tmp_path: Path) -> None:
    files = make_classes(3)
    encoder, store = resolve_encoder("pixels/8x8x3"), Store(tmp_path / "s.sqlite")
    folder = read_images(write_folder(tmp_path / "in", files), verify=False)
    for suffix in (".zip", ".tar.bz2"):
        images = read_images(write_archive(tmp_path / f"in{suffix}", files), verify=False)
        other = Store(tmp_path / f"{suffix}.sqlite")
        assert encode_images(images, [encoder], other) == {}
        digests = [row.digest for row in images.used]
        encode_images(folder, [encoder], store)
        np.testing.assert_array_equal(
            other.get(encoder.space, digests), store.get(encoder.space, digests)
        )


def test_images_of_an_archive_can_be_pickled(tmp_path: Path) -> None:
    for suffix in (".zip", ".tar.gz"):
        images = read_images(write_archive(tmp_path / f"in{suffix}", make_classes(1)))
        copy = pickle.loads(pickle.dumps(images))
        row = images.used[0]
        assert copy.source_of(row) == images.source_of(row)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_damaged_archives_end_in_a_row_or_a_sentence(suffix: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = write_archive(tmp_path / f"in{suffix}", make_classes(2))
    data = path.read_bytes()
    n_read = 0
    for i in range(250):
        damaged = bytearray(data)
        if i % 5 == 0:
            del damaged[int(rng.integers(len(data))) :]
        else:
            for at in rng.integers(0, len(data), 1 + i % 4):
                damaged[at] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            listed = list_sources([path])
            assert isinstance(listed, ListedInputs)
            images = inspect_inputs(listed.inputs)
            assert len(images.rows) == len(listed)
            read_images(path)
            n_read += 1
        except IlkError:  # a sentence; any other exception fails the test
            continue
    assert n_read < 250


def test_every_door_lists_a_name_that_leads_out(tmp_path: Path) -> None:
    source = write_archive(tmp_path / "a.zip", {**make_classes(2), "../up.png": make_png(3)})
    listed = [path for path, _ in list_sources([source]).inputs]
    read = [f"{source}/{row.path}" for row in read_images(source).rows]
    assert sorted(listed) == sorted(read)
    assert f"{source}/../up.png" in listed
