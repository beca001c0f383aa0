"""Labels leave as a table that ilk fit reads, as folders, and as a model."""

import csv
import os

import pytest
from PIL import Image

import ilk
from ilk.core.errors import InputError, NoLabels, OutputError
from ilk.core.portable_names import RESERVED, name_folders
from ilk.labelling.model_export import describe_accuracy
from tests.helpers.coloured_images import tell


@pytest.fixture
def labelled(open_session):
    session = open_session()
    for _ in range(36):
        item = session.next_item("ann")
        session.assign("ann", item.digest, tell(item.path))
    session.wait_until_fitted()
    return session


def test_the_table_is_read_back_by_fit(labelled, tmp_path):
    path = tmp_path / "out" / "labels.csv"
    assert labelled.export_csv(path) == 36
    with path.open() as file:
        lines = list(csv.DictReader(file))
    assert {line["annotator"] for line in lines} == {"ann"}
    images = ilk.read(path)
    assert len(images.used) == 36
    assert images.classes == ("blue", "green", "red")
    assert all(row.label == tell(row.path) for row in images.used)
    audited = sum(one.is_audited for one in labelled.list_labelled())
    assert sum(row.split == "test" for row in images.used) == audited > 0
    with pytest.raises(OutputError, match="exists; name another file"):
        labelled.export_csv(path)


@pytest.mark.parametrize("link", [False, True])
def test_folders_hold_the_images_of_their_class(labelled, tmp_path, link):
    out = tmp_path / "sorted"
    assert labelled.export_folder(out, link=link) == 36
    images = ilk.read(out)
    assert len(images.used) == 36
    assert all(r.label == tell(r.path) for r in images.used)
    assert {r.digest for r in images.used} <= {item.digest for item in labelled.items}
    assert any(p.is_symlink() for p in out.rglob("*.png")) == link
    with pytest.raises(OutputError, match="not empty"):
        labelled.export_folder(out)


def test_names_of_folders_are_safe_everywhere():
    names = name_folders(["a/b", "..", "CON", "x:y", "cat", "Cat", " ", "a\\b", "nul.txt"])
    assert len({n.casefold() for n in names.values()}) == len(names)
    for folder in names.values():
        assert folder.strip(". ") == folder
        assert folder
        assert not set(folder) & set('<>:"/\\|?*')
    assert names["CON"] != "CON"
    assert names["nul.txt"] != "nul.txt"


HOSTILE = [
    "../x", "/etc", "C:\\x", "CON.txt", "com1.a.b", "LPT².x", "con ", "a.", "a ", "a. .", "...",
    "é" * 200, "🐈" * 200, "x" * 179 + "é", "~", "-rf", "$(x)", "a\nb", "a\0b", "straße", "STRASSE",
]  # fmt: skip


def test_hostile_class_names_become_folders_inside_the_folder(tmp_path):
    names = name_folders(HOSTILE)
    assert len({n.casefold() for n in names.values()}) == len(HOSTILE)
    for name in names.values():
        assert len(name.encode()) <= 190
        assert name == name.strip(" .")
        assert not RESERVED.fullmatch(name.partition(".")[0])
        (tmp_path / name).mkdir()
    assert len(list(tmp_path.iterdir())) == len(HOSTILE)


def test_images_of_one_name_stay_in_the_folder_of_their_class(open_session, tmp_path):
    photos, colours = tmp_path / "days", {"a": (250, 0, 0), "b": (0, 250, 0), "c": (0, 0, 250)}
    long_name = f"{'é' * 120}.png"
    for day, colour in colours.items():
        (photos / day).mkdir(parents=True)
        Image.new("RGB", (8, 8), colour).save(photos / day / "001.png")
        Image.new("RGB", (9, 8), colour).save(photos / day / long_name)
    session = open_session(photos, read_labels=False)
    for item in session.items:
        session.assign("ann", [item.digest], "x/y")
    assert session.export_folder(tmp_path / "sorted") == 6
    found = ilk.read(tmp_path / "sorted")
    assert [row.label for row in found.used] == ["x_y"] * 6
    assert all(path.parent.name == "x_y" for path in (tmp_path / "sorted").rglob("*.png"))


def test_nothing_labelled_is_said(open_session, tmp_path):
    session = open_session()
    with pytest.raises(NoLabels, match="nothing is labelled yet"):
        session.export_csv(tmp_path / "x.csv")
    with pytest.raises(NoLabels):
        session.export_folder(tmp_path / "x")


def test_the_model_answers_and_has_not_learned_the_audit(open_session, tmp_path):
    session = open_session(order="RandomOrder")
    for _ in range(45):
        item = session.next_item("ann")
        session.assign("ann", item.digest, tell(item.path))
    session.fit_model(tmp_path / "kinds", methods=("GDA",), folds=3)
    again = ilk.load(tmp_path / "kinds")
    assert set(again.classes) == {"red", "green", "blue"}
    image = next(item for item in session.items if item.path.startswith("red_0_19"))
    assert again.predict(session.images.root / image.path).name == "red"
    audited = sum(one.is_audited for one in session.list_labelled())
    assert audited > 0
    assert again.summary_statistics.counts.sum() == 45 - audited
    assert (tmp_path / "kinds" / "report.html").exists()


def test_a_class_of_the_audit_alone_is_learned_all_the_same(open_session, tmp_path):
    session = open_session()
    audit = [session.items[i] for i in session._audit]
    rest = [item for item in session.items if item not in audit]
    reds = [item for item in audit if tell(item.path) == "red"]
    first = audit[: audit.index(reds[1]) + 1]  # the slice has two red images, the rest none
    for item in (*first, *(x for x in rest if tell(x.path) != "red")):
        session.assign("ann", item.digest, tell(item.path))
    lines = []
    session.fit_model(tmp_path / "kinds", methods=("GDA",), folds=2, log=lines.append)
    assert set(ilk.load(tmp_path / "kinds").classes) == {"red", "green", "blue"}
    assert any("red would have fewer than 2 images" in line for line in lines)
    notes = ilk.load(tmp_path / "kinds").metadata["notes"]
    assert any("red would have fewer than 2 images" in note for note in notes)


def test_a_rare_class_outside_the_audit_costs_no_test_images(open_session, tmp_path):
    session = open_session(order="RandomOrder")
    audit = [session.items[i] for i in session._audit]
    rare, *others = [item for item in session.items if item not in audit]
    for item in (*audit, *others):
        session.assign("ann", item.digest, tell(item.path))
    session.assign("ann", rare.digest, "purple")
    lines = []
    classifier = session.fit_model(tmp_path / "kinds", methods=("GDA",), folds=3, log=lines.append)
    n = sum(one.is_audited and one.label is not None for one in session.list_labelled())
    assert n > 0
    assert classifier.metadata["data"]["held_out"] == n
    assert not any("fewer than" in line for line in lines)
    words = describe_accuracy(classifier)
    assert f"on {n} images drawn at random" in words
    assert words.startswith("accuracy ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_an_image_that_became_a_named_pipe_is_refused_and_not_waited_for(open_session):
    session = open_session()
    item = session.items[0]
    path = session.images.root / item.path
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="cannot be read: not a regular file"):
        session.read_image(item.digest)
