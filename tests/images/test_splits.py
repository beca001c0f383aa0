import pytest
from PIL import Image

from ilk.core.errors import InputError
from ilk.images import read_images
from ilk.images.annotations.splits import parse_split


def plant(root, *paths):
    for i, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (i, 7 * i % 256, 90)).save(file)


def read(root):
    return {(row.path, row.label, row.split) for row in read_images(root).used}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("training_set", "train"),
        ("seg_train", "train"),
        ("train2017", "train"),
        ("trainset", "train"),
        ("Train Data", "train"),
        ("TrainImages", "train"),
        ("test1", "test"),
        ("test_images", "test"),
        ("val2017", "val"),
        ("validation-set", "val"),
        ("images", None),
        ("train_station", None),
        ("trainer", None),
        ("testament", None),
        ("valley", None),
        ("train_test", None),
    ],
)
def test_a_name_tells_its_split(name, split):
    assert parse_split(name) == split


@pytest.mark.parametrize(
    "names",
    [
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("train_images", "test_images"),
        ("train2017", "val2017"),
        ("trainset", "testset"),
        ("Train Data", "Test Data"),
    ],
)
def test_splits_under_other_names_are_no_classes(tmp_path, names):
    plant(tmp_path, *(f"{name}/{c}/1.png" for name in names for c in ("cat", "dog")))
    images = read_images(tmp_path)
    assert images.classes == ("cat", "dog")
    held_out = "val" if "val" in names[1] else "test"
    assert {row.split for row in images.used} == {"train", held_out}
    assert len(images.select_split("train").rows) == 2


def test_a_decorated_name_beside_classes_is_a_class_unless_it_divides(tmp_path):
    plant(tmp_path / "a", "train set/1.png", "car/1.png", "plane/1.png")
    assert read_images(tmp_path / "a").classes == ("car", "plane", "train set")
    plant(tmp_path / "b", "train_set/cat/1.png", "test_set/cat/2.png", "extra/3.png")
    with pytest.raises(InputError, match="splits or classes"):
        read_images(tmp_path / "b")


def test_a_split_inside_the_same_split_is_unwrapped(tmp_path):
    plant(tmp_path, "train/train/cat/1.png", "train/train/dog/2.png", "test/test/cat/3.png")
    assert read(tmp_path) == {
        ("train/train/cat/1.png", "cat", "train"),
        ("train/train/dog/2.png", "dog", "train"),
        ("test/test/cat/3.png", "cat", "test"),
    }


def test_doubled_splits_without_classes_have_no_labels(tmp_path):
    plant(tmp_path, "train/train/1.png", "test/test/2.png")
    assert {label for _, label, _ in read(tmp_path)} == {None}


def test_a_class_called_train_inside_a_split_stays_a_class(tmp_path):
    plant(tmp_path, "train/train/1.png", "train/car/2.png", "test/train/3.png", "test/car/4.png")
    assert read_images(tmp_path).classes == ("car", "train")


def test_classes_that_hold_splits_are_divided(tmp_path):
    plant(tmp_path, *(f"{c}/{s}/{i}.png" for i, c in enumerate("ab") for s in ("train", "Test")))
    assert read(tmp_path) == {
        ("a/train/0.png", "a", "train"),
        ("a/Test/0.png", "a", "test"),
        ("b/train/1.png", "b", "train"),
        ("b/Test/1.png", "b", "test"),
    }


@pytest.mark.parametrize("stray", ["b/1.png", "b/more/1.png"])
def test_classes_of_which_only_some_are_divided_are_refused(tmp_path, stray):
    plant(tmp_path, "a/train/1.png", "a/test/2.png", "b/train/3.png", "b/test/4.png", stray)
    with pytest.raises(InputError, match=r"is divided into train and test, and .*b holds"):
        read_images(tmp_path)


def test_a_subfolder_called_train_divides_nothing(tmp_path):
    plant(tmp_path, "vehicle/train/1.png", "vehicle/car/2.png", "animal/cat/3.png")
    assert {(label, split) for _, label, split in read(tmp_path)} == {
        ("vehicle", "train"),
        ("animal", "train"),
    }
