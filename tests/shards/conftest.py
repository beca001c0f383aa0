from __future__ import annotations

import pytest

from helpers.noise_images import noise, write_two_classes


@pytest.fixture
def photos(tmp_path):
    """A folder with 17 images of two classes, a damaged file, an empty one and a copy."""
    home = tmp_path / "photos"
    write_two_classes(home, (noise(12 + i % 5, 10 + i % 7, i) for i in range(17)))
    (home / "cat" / "empty.png").write_bytes(b"")
    (home / "dog" / "cut.png").write_bytes((home / "dog" / "02.png").read_bytes()[:-60])
    (home / "dog" / "zz copy.png").write_bytes((home / "dog" / "04.png").read_bytes())
    return home
