"""Tables, lists and metadata beside the images."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from itertools import count

import pytest
from PIL import Image

from ilk.core.errors import ArtifactError, InputError, NoImages, OutputError, Unavailable
from ilk.images import Images, read_images

FRESH = count()
LINES = [("a.png", "cat", "train"), ("sub/b.png", "dog", "test"), ("c d.png", "", "train")]
WANTED = [("a.png", "cat", "train"), ("sub/b.png", "dog", "test"), ("c d.png", None, "train")]


def plant(root, *paths):
    for path in paths:
        n = next(FRESH)
        out = BytesIO()
        Image.new("RGB", (3, 2), (n % 256, n // 256, 9)).save(out, "PNG")
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(out.getvalue())


def select_triples(images, status="used"):
    return [(r.path, r.label, r.split) for r in images.rows if r.status == status]


def write(file, lines=LINES, head=("path", "label", "split")):
    """The lines as a table, by the ending of `file`."""
    match file.suffix:
        case ".jsonl":
            text = "\n".join(json.dumps(dict(zip(head, x, strict=True))) for x in lines)
            file.write_text(text + "\n", encoding="utf-8")
        case ".parquet":
            pyarrow = pytest.importorskip("pyarrow")
            from pyarrow import parquet

            columns = list(zip(*lines, strict=True))
            parquet.write_table(pyarrow.table(dict(zip(head, columns, strict=True))), file)
        case suffix:
            mark = "\t" if suffix == ".tsv" else ","
            text = "\n".join(mark.join(x) for x in (head, *lines))
            file.write_text(text + "\n", encoding="utf-8")
    return file


@pytest.fixture
def folder(tmp_path):
    plant(tmp_path, "a.png", "sub/b.png", "c d.png")
    return tmp_path


KINDS = [".csv", ".tsv", ".jsonl", ".parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_table_says_the_same(folder, kind):
    images = read_images(write(folder / f"list{kind}"))
    assert select_triples(images) == WANTED
    assert images.root == folder
    assert all(images.path_of(row).is_file() for row in images.rows)


@pytest.mark.parametrize(
    "path", ["path", "file", "file_name", "filename", "image", "File_Name", " image "]
)
@pytest.mark.parametrize("label", ["label", "class", "category", "target", "name", "Label"])
def test_the_usual_names_of_columns(folder, path, label):
    assert (
        select_triples(read_images(write(folder / "list.csv", head=(path, label, "split"))))
        == WANTED
    )


def test_columns_by_name_win(folder):
    lines = [("x", "no", "a.png", "cat"), ("y", "no", "sub/b.png", "dog")]
    table = write(folder / "list.csv", lines, ("path", "label", "where", "kind"))
    images = read_images(table, path_column="where", label_column="kind")
    assert [r.label for r in images.used] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("path;label\na.png;cat\n", "utf-8"),
        ("\ufeffpath,label\r\na.png,cat\r\n\r\n", "utf-8"),
        ("path\tlabel\na.png\tcat\n", "utf-16"),
        ('path,label\n"a.png","cat"', "utf-8"),
        ("label, path\ncat, a.png", "utf-8"),
        ("path,label\n.\\a.png,cat\n", "utf-8"),
    ],
)
def test_tables_as_programs_write_them(folder, text, encoding):
    (folder / "list.csv").write_bytes(text.encode(encoding))
    assert select_triples(read_images(folder / "list.csv")) == [("a.png", "cat", "train")]


def test_names_with_commas_quotes_and_line_breaks(tmp_path):
    plant(tmp_path, 'a,"b".png', "c\u2028d.png")
    (tmp_path / "list.csv").write_text(
        'path,label\n"a,""b"".png","big\ncat"\nc\u2028d.png,dog\n', encoding="utf-8"
    )
    assert [(p, c) for p, c, _ in select_triples(read_images(tmp_path / "list.csv"))] == [
        ('a,"b".png', "big\ncat"),
        ("c\u2028d.png", "dog"),
    ]


def test_numbers_are_names_too(folder):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names = pyarrow.array(["a.png", "sub/b.png", "c d.png"])
    table = pyarrow.table({"file": names, "label": pyarrow.array([3.0, None, float("nan")])})
    parquet.write_table(table, folder / "list.parquet")
    assert [r.label for r in read_images(folder / "list.parquet").rows] == ["3", None, None]


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_column_lists_those_there_are(folder, kind):
    table = write(folder / f"list{kind}", head=("path", "colour", "split"))
    with pytest.raises(InputError, match=r"no column of labels.*path, colour, split.*label_column"):
        read_images(table)
    with pytest.raises(InputError, match="no column 'kind'"):
        read_images(table, label_column="kind")
    table = write(folder / f"list{kind}", head=("where", "label", "split"))
    with pytest.raises(InputError, match=r"no column of paths.*where, label, split"):
        read_images(table)


def test_missing_files_are_rows_and_all_missing_an_error(folder):
    lines = [("a.png", "cat"), ("gone.png", "cat"), ("a.png/x", "dog"), ("nul\0.png", "dog")]
    table = write(folder / "list.jsonl", lines, ("path", "label"))
    images = read_images(table)
    assert [r.path for r in images.used] == ["a.png"]
    assert [r.reason for r in images.refused] == ["missing"] * 3
    with pytest.raises(InputError, match=r"none of the 2 files .* exists .*gone.png"):
        read_images(
            write(
                folder / "list.csv", [("gone.png", "cat"), ("lost.png", "cat")], ("path", "label")
            )
        )


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("l.csv", "", "columns are: none"),
        ("l.csv", "path,label\n", "is empty"),
        ("l.csv", "path,label\n,cat\n", "line 2: '' where a path"),
        ("l.csv", 'path,label\n"a.png,cat\n', "not the table"),
        ("l.csv", "path,label,split\na.png,cat,left\n", "split 'left' is not known"),
        ("l.jsonl", '{"path": "a.png"\n', "line 1: no JSON"),
        ("l.jsonl", "[1]\n", "line 1: not an object"),
        ("l.jsonl", '{"image": {"bytes": "x"}, "label": 1}\n', "an image itself"),
        ("l.parquet", "hello", "Parquet"),
        ("l.txt", "\n\n", "is empty"),
    ],
)
def test_tables_that_cannot_be_read(folder, name, text, what):
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=what):
        read_images(folder / name)


def test_parquet_without_pyarrow(folder, monkeypatch):
    table = folder / "list.parquet"
    table.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Unavailable, match=r"pip install 'ilk\[parquet\]'"):
        read_images(table)


@pytest.mark.parametrize(
    "name", ["metadata.csv", "metadata.jsonl", "metadata.parquet", "metadata.tsv"]
)
def test_a_folder_with_metadata(folder, name):
    lines = [("a.png", "cat"), ("sub/b.png", "dog"), ("gone.png", "dog")]
    write(folder / name, lines, ("file_name", "label"))
    images = read_images(folder)
    assert select_triples(images) == [
        ("a.png", "cat", "train"),
        ("c d.png", None, "train"),
        ("sub/b.png", "dog", "train"),
    ]
    assert [(r.path, r.reason) for r in images.refused] == [("gone.png", "missing")]
    assert [r.path for r in images.rows] == sorted(r.path for r in images.rows)
    assert select_triples(images, "ignored") == [(name, None, "train")]


def test_metadata_in_each_part(tmp_path):
    plant(tmp_path, "train/1.png", "train/2.png", "test/1.png", "test/extra/2.png")
    write(
        tmp_path / "train" / "metadata.csv",
        [("1.png", "cat"), ("2.png", "dog")],
        ("file_name", "label"),
    )
    write(tmp_path / "test" / "metadata.csv", [("1.png", "cat")], ("file_name", "label"))
    assert select_triples(read_images(tmp_path)) == [
        ("test/1.png", "cat", "test"),
        ("test/extra/2.png", None, "test"),
        ("train/1.png", "cat", "train"),
        ("train/2.png", "dog", "train"),
    ]


def test_metadata_above_the_parts(tmp_path):
    plant(tmp_path, "train/1.png", "test/1.png")
    lines = [("train/1.png", "cat"), ("test/1.png", "dog")]
    write(tmp_path / "metadata.csv", lines, ("file_name", "label"))
    assert select_triples(read_images(tmp_path)) == [
        ("test/1.png", "dog", "test"),
        ("train/1.png", "cat", "train"),
    ]


def test_metadata_without_labels_or_twice(folder):
    write(folder / "metadata.csv", [("a.png", "x")], ("file_name", "text"))
    with pytest.raises(InputError, match="no column of labels"):
        read_images(folder)
    write(folder / "metadata.jsonl", [("a.png", "x")], ("file_name", "label"))
    with pytest.raises(InputError, match="keep one of them"):
        read_images(folder)


def test_a_list_in_a_file(folder):
    (folder / "list.txt").write_text("sub/b.png\n\na.png\r\nc d.png")
    assert [r.path for r in read_images(folder / "list.txt").rows] == [
        "sub/b.png",
        "a.png",
        "c d.png",
    ]
    images = read_images(folder / "list.txt", labels=["dog", None, ""])
    assert [r.label for r in images.rows] == ["dog", None, None]


@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_names_that_are_no_utf8_or_hold_unusual_breaks_are_listed(tmp_path, name):
    files = ["caf\udce9.png", "a\u2028b\x0cc.png", " leading.png"]
    try:
        plant(tmp_path, *files)
    except OSError:
        pytest.skip("this file system takes no such names")
    lines = [f"{f},cat" for f in files] if name.endswith("csv") else files
    text = "\n".join(["path,label", *lines] if name.endswith("csv") else lines)
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert [r.path for r in read_images(tmp_path / name).used] == files


def test_a_sequence_of_paths_keeps_its_order(folder):
    files = [folder / "sub" / "b.png", str(folder / "a.png"), str(folder / "c d.png")]
    images = read_images(files, labels=[1, "cat", None])
    assert [r.label for r in images.rows] == ["1", "cat", None]
    assert images.root is None
    assert [images.path_of(r).name for r in images.rows] == ["b.png", "a.png", "c d.png"]


@pytest.mark.parametrize("labels", [["cat"], ["cat"] * 4, []])
def test_labels_of_another_length(folder, labels):
    files = [folder / "a.png", folder / "sub" / "b.png", folder / "c d.png"]
    with pytest.raises(InputError, match=rf"{len(labels)} labels for 3 images"):
        read_images(files, labels=labels)


def test_an_empty_sequence_and_one_of_no_paths(folder):
    with pytest.raises(NoImages, match="the list of images is empty"):
        read_images([])
    with pytest.raises(InputError, match="image 1 is 3, an int; an image is a path"):
        read_images([folder / "a.png", 3])


def test_a_folder_in_a_list_with_labels_is_no_image(folder):
    images = read_images([folder / "a.png", folder / "sub"], labels=["x", "y"])
    assert [(r.reason, r.detail) for r in images.refused] == [("unreadable", "a folder")]


def test_one_image_is_a_source(folder):
    images = read_images(folder / "a.png", labels=["cat"])
    assert select_triples(images) == [("a.png", "cat", "train")]
    assert images.path_of(images.rows[0]) == folder / "a.png"


def test_labels_do_not_go_with_a_table(folder):
    with pytest.raises(InputError, match="labels= is for a list of images"):
        read_images(write(folder / "list.csv"), labels=["a", "b", "c"])


def test_a_file_listed_twice_is_used_once(folder):
    lines = [("a.png", "cat"), ("./a.png", "cat"), ("sub/b.png", "cat"), ("sub/b.png", "dog")]
    images = read_images(write(folder / "list.csv", lines, ("path", "label")))
    assert [r.reason for r in images.rows] == [
        "",
        "duplicate",
        *["same content under two labels"] * 2,
    ]


def test_the_report_round_trips(folder, tmp_path):
    (folder / "note.txt").write_text("no image")
    images = read_images([*folder.glob("*.png"), folder / "note.txt"])
    report = images.to_json()
    assert Images.from_json(json.loads(json.dumps(report))) == images
    assert all({"path", "label", "split", "status"} <= set(row) for row in report["rows"])
    assert report["counts"]["files"] == len(report["rows"]) == 3
    assert report["counts"]["reasons"] == {"not an image": 1}
    images.save(tmp_path / "intake.json")
    assert json.loads((tmp_path / "intake.json").read_bytes().decode("ascii")) == report
    with pytest.raises(OutputError, match="cannot write"):
        images.save(tmp_path / "no" / "such" / "folder.json")


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"root": None, "rows": 3},
        {"root": None, "rows": [{"status": "used"}]},
        {"root": 1, "rows": []},
        {"root": None, "rows": [{"path": "a", "status": "x"}]},
    ],
)
def test_what_is_no_report_is_refused(data):
    with pytest.raises(ArtifactError, match="not an intake report"):
        Images.from_json(data)


def test_a_table_may_be_read_without_labels(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    table = tmp_path / "t.csv"
    table.write_text("path,height\n1.png,8\n")
    with pytest.raises(InputError, match=r"no column of labels.*label_column=.*or none"):
        read_images(table)
    assert [row.label for row in read_images(table, label_column="none").rows] == [None]
    table.write_text("path,none\n1.png,cat\n")
    assert [row.label for row in read_images(table, label_column="none").rows] == ["cat"]
