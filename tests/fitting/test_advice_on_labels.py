"""Where there are no labels, the advice is for the way in which the images were given."""

import numpy as np
import pytest
from PIL import Image

import ilk
from ilk.core.errors import NoLabels


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(3):
            pixels = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    return tmp_path


def test_of_a_list_it_names_the_folder_or_a_pattern(photos):
    listed = photos / "list.txt"
    listed.write_text("\n".join(str(path) for path in sorted(photos.glob("*/*.png"))))
    with pytest.raises(NoLabels, match=r"names of their folders are not labels: give the folder"):
        ilk.fit(str(listed), encoders="hog")


def test_of_a_folder_beside_its_table_it_names_the_table(photos):
    table = photos / "cat" / "labels.csv"
    table.write_text("path,label\n0.png,a\n1.png,b\n2.png,a\n")
    with pytest.raises(NoLabels, match=r"did you mean .*labels\.csv\? Otherwise use one folder"):
        ilk.fit(str(photos / "cat"), encoders="hog")


def test_of_a_flat_folder_it_names_folders(photos):
    with pytest.raises(NoLabels, match="learn from; use one folder per class, or name the classes"):
        ilk.fit(str(photos / "dog"), encoders="hog")
