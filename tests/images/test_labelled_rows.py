"""The labelled images of a source: their classes, and what a digest of them depends on."""

from __future__ import annotations

from dataclasses import replace

import pytest

import ilk
from helpers.striped_images import write_stripes
from ilk.core.errors import NoLabels
from ilk.images import Images, Row
from ilk.images.labelled_rows import digest_rows, encode_labels, list_labelled


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    folder = write_stripes(tmp_path_factory.mktemp("stripes") / "d", per_class=2)
    return ilk.read(str(folder))


def test_images_without_a_label_are_left_out(images: Images) -> None:
    first, *others = images.rows
    some = replace(images, rows=(replace(first, label=None), *others))
    rows, classes = list_labelled(some, "labels teach")
    assert [row.path for row in rows] == [row.path for row in others]
    assert classes == tuple(sorted({row.label for row in others}))


def test_no_label_at_all_is_refused(images: Images) -> None:
    none = replace(images, rows=tuple(replace(row, label=None) for row in images.rows))
    with pytest.raises(NoLabels, match="4 images and no labels; labels teach: use one folder"):
        list_labelled(none, "labels teach")


@pytest.mark.parametrize("change", [{"label": "other"}, {"group": "g"}, {"digest": "0" * 64}])
def test_the_digest_knows_label_group_content_and_order(
    images: Images, change: dict[str, str]
) -> None:
    first, *others = images.rows
    digest = digest_rows([first, *others])
    assert digest_rows([replace(first, path="moved.png"), *others]) == digest
    assert digest_rows([replace(first, **change), *others]) != digest
    assert digest_rows([*others, first]) != digest


def test_classes_are_numbered_as_they_are_named():
    rows = [Row("a", "owl"), Row("b", None), Row("c", "cat")]
    assert encode_labels(rows, ("cat", "dog", "owl")).tolist() == [2, -1, 0]
    with pytest.raises(KeyError):
        encode_labels(rows, ("cat",))
