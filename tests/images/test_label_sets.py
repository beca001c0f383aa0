"""Columns of label sets are recognized with their evidence; class names with commas are left."""

import json

import pytest

from helpers.label_tables import draw_pairs, write_indicators, write_table
from ilk.core.errors import InputError
from ilk.images import Images, describe_separator, read_images
from ilk.images.annotations.label_sets import find_separator, parse_label_set


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    home = tmp_path_factory.mktemp("pairs")
    return home, draw_pairs(home, 40)


def labels_of(images):
    return {row.path: row.labels for row in images.rows}


def write_form(home, rows, form):
    """Write the same labels in one of the forms that people use; return the table."""
    file = home / f"{form}.csv"
    if form == "columns":
        return write_indicators(file, rows)
    if form == "jsonl":
        lines = (json.dumps({"path": path, "label": list(names)}) for path, names in rows)
        file = home / "table.jsonl"
        file.write_text("\n".join(lines))
        return file
    if form == "lines":
        lines = [f"{path},{name}" for path, names in rows for name in names or ("none",)]
        file.write_text("\n".join(["path,label", *lines]))
        return file
    if form == "unquoted commas":
        lines = [f"{path},{','.join(names) or 'none'}" for path, names in rows]
        file.write_text("\n".join(["path,label", *lines]))
        return file
    if form == "text of a list":
        return write_table(file, rows, lambda names: str(list(names)))
    return write_table(file, rows, lambda names: form.join(names) or "none")


FORMS = (";", " | ", ", ", "columns", "jsonl", "lines", "unquoted commas", "text of a list")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_label_sets_is_refused_unasked_and_read_on_request(pairs, form):
    home, rows = pairs
    table = write_form(home, rows, form)
    with pytest.raises(InputError, match=r"looks like multi-label: .*\d.*--multi-label"):
        read_images(table, verify=False)
    assert labels_of(read_images(table, multi_label=True, verify=False)) == dict(rows)


def test_parquet_lists_are_label_sets(pairs):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    home, rows = pairs
    table = pyarrow.table({"path": [p for p, _ in rows], "label": [list(n) for _, n in rows]})
    parquet.write_table(table, home / "t.parquet")
    with pytest.raises(InputError, match="list several names"):
        read_images(home / "t.parquet", verify=False)
    assert labels_of(read_images(home / "t.parquet", multi_label=True)) == dict(rows)


def test_the_evidence_counts_the_cells(pairs):
    home, rows = pairs
    table = write_table(home / "evidence.csv", rows)
    n = sum(len(names) > 1 for _, names in rows)
    with pytest.raises(InputError, match=f"{n} of {len(rows)} label cells contain ';'"):
        read_images(table, verify=False)
    assert read_images(table, multi_label=False, verify=False).is_multi_label is False


@pytest.mark.parametrize(
    ("cells", "is_clear"),
    [
        (["cat", "dog", "cat;dog"], True),  # the parts occur alone
        (["red|small", "red|large", "blue|small", "blue|large"], True),  # and in combinations
        (["bear, brown", "bear, polar", "cat"], False),  # pieces of names
        (["tench, Tinca tinca", "goldfish, Carassius auratus"], False),
        (["cat"] * 50 + ["owl, barn"], False),
    ],
)
def test_parts_are_labels_if_they_recur(cells, is_clear):
    evidence = find_separator(cells)
    assert evidence is not None
    assert evidence.is_clear is is_clear
    assert bool(describe_separator(cells)) is not is_clear


def test_a_separator_inside_names_gives_way_to_the_one_between_them():
    cells = ["bear, brown; cat", "cat", "bear, brown", "cat; dog", "dog"]
    assert find_separator(cells).separator == ";"
    assert parse_label_set(cells[0], ";") == ("bear, brown", "cat")


def test_empty_is_unknown_and_none_is_the_empty_set(pairs):
    home, rows = pairs
    cells = ["one", "", "none", "[]", "three;one"]
    lines = [f"{path},{cell}" for (path, _), cell in zip(rows, cells, strict=False)]
    (home / "empty.csv").write_text("\n".join(["path,label", *lines]))
    images = read_images(home / "empty.csv", multi_label=True, verify=False)
    assert [row.labels for row in images.rows] == [("one",), None, (), (), ("one", "three")]
    assert images.count_rows()["labelled"] == 4
    assert images.count_rows()["classes"] == {"one": 2, "three": 1}
    assert Images.from_json(json.loads(json.dumps(images.to_json()))) == images


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,a,b\nX,1,0\nY,,1\n", r"line 3: column 'a' is empty and others are not"),
        ("path,a,b\nX,1,0\nY,-1,1\n", r"unclear whether -1 means no or unknown"),
        ("path,label\nX,a;b\nY,none;a\n", r"line 3: 'none;a' names a label and 'none'"),
        ("path,label\nX,Cat;dog\nY,cat;dog\n", r"one class name in 2 spellings"),
    ],
)
def test_bad_tables_are_refused_in_one_sentence(pairs, text, message):
    home, rows = pairs
    (home / "bad.csv").write_text(text.replace("X", rows[0][0]).replace("Y", rows[1][0]))
    with pytest.raises(InputError, match=message) as error:
        read_images(home / "bad.csv", multi_label=True, verify=False)
    assert "\n" not in str(error.value)


def test_a_line_of_empty_indicators_is_unlabelled_and_minus_one_may_mean_no(pairs):
    home, rows = pairs
    a, b, c = (path for path, _ in rows[:3])
    (home / "part.csv").write_text(f"path,x,y,width\n{a},1,-1,8\n{b},,,8\n{c},-1,1.0,8\n")
    images = read_images(home / "part.csv", multi_label=True, verify=False)
    assert [row.labels for row in images.rows] == [("x",), None, ("y",)]


def test_spellings_are_merged_per_label(pairs):
    home, rows = pairs
    a, b, c = (path for path, _ in rows[:3])
    (home / "spelled.csv").write_text(f"path,label\n{a},Cat;dog\n{b},cat;Dog\n{c},cat;dog\n")
    images = read_images(home / "spelled.csv", multi_label=True, merge_spellings=True)
    assert {row.labels for row in images.used} == {("cat", "dog")}


def test_a_separator_that_no_cell_contains_is_refused(pairs):
    home, rows = pairs
    table = write_table(home / "separator.csv", rows)
    with pytest.raises(InputError, match=r"no label cell .* contains the separator '/'"):
        read_images(table, label_separator="/")
    with pytest.raises(InputError, match="leave it out for one label per image"):
        read_images(table, label_separator=";", multi_label=False)
    assert read_images(table, label_separator=";").is_multi_label


def test_a_folder_or_unlabelled_list_is_no_multi_label_source(pairs):
    home, rows = pairs
    with pytest.raises(InputError, match="folder without a metadata table"):
        read_images(home, multi_label=True)
    with pytest.raises(InputError, match="multi_label needs labels"):
        read_images([home / rows[0][0]], multi_label=True)


def test_labels_of_a_list_of_paths_may_be_lists(pairs):
    home, rows = pairs
    paths, labels = zip(*((home / path, list(names)) for path, names in rows), strict=True)
    with pytest.raises(InputError, match="the list of labels looks like multi-label"):
        read_images(paths, labels=labels)
    images = read_images(paths, labels=labels, multi_label=True)
    assert [row.labels for row in images.rows] == [names for _, names in rows]


def test_the_same_bytes_with_other_labels_are_refused(pairs):
    home, rows = pairs
    (home / "copy.png").write_bytes((home / rows[0][0]).read_bytes())
    (home / "copies.csv").write_text(f"path,label\n{rows[0][0]},a;b\ncopy.png,a\n{rows[1][0]},b\n")
    images = read_images(home / "copies.csv", multi_label=True)
    assert [row.reason for row in images.refused] == ["same content under two labels"] * 2
    (home / "copy.png").unlink()


@pytest.mark.parametrize(
    ("labels", "is_refused"),
    [
        ([f"{i * 1.37:.2f}" for i in range(40)], True),  # measurements
        ([str(i * 7) for i in range(60)], True),
        ([str(1 + i % 5) for i in range(40)], False),  # stars
        ([f"{(i % 9) / 2}" for i in range(40)], False),  # half stars
        ([f"kind {i}" for i in range(40)], False),
    ],
)
def test_measurements_are_refused_and_grades_are_classes(tmp_path, labels, is_refused):
    lines = [f"{i}.png,{label}" for i, label in enumerate(labels)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *lines]))
    (tmp_path / "0.png").write_bytes(b"")
    with pytest.raises(InputError) as error:  # none of the files is an image
        read_images(tmp_path / "t.csv")
    assert ("ilk classifies" in str(error.value)) is is_refused
