"""Settings of another type than is meant, from Python: one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.archives import make_classes, make_png, write_archive, write_folder
from ilk.core.errors import InputError
from ilk.images import list_sources, read_images

TEXTS = (
    *("path_column", "label_column", "group_column"),
    *("split_column", "label_separator", "group_from"),
)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", [3, b"x", ["a"], 1.5, Path("x"), True])
def test_settings_that_must_be_text(tmp_path: Path, name: str, value: Any) -> None:
    table = tmp_path / "t.csv"
    table.write_text("path,label\na.png,cat\n")
    (tmp_path / "a.png").write_bytes(make_png(0))
    wish: dict[str, Any] = {name: value}
    for source in (table, write_archive(tmp_path / "a.zip", make_classes(1)), [str(table)]):
        with pytest.raises(InputError, match=rf"{name} is .* of type \w+; give text"):
            read_images(source, **wish)
    if name in ("path_column", "group_column"):
        with pytest.raises(InputError, match="give text"):
            list_sources([table], **wish)


@pytest.mark.parametrize(
    "groups", [3, "ab", b"ab", {0: 1, 1: 2}, {1, 2}, None.__class__, np.zeros((2, 2)), [1], 2.5]
)
def test_groups_that_are_no_list(groups: Any) -> None:
    with pytest.raises(InputError, match="one group per image"):
        read_images([make_png(0), make_png(1)], groups=groups)


def test_patterns_and_ranges(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "d", make_classes(2))
    assert len(read_images(folder, exclude=None).used) == 4  # type: ignore[arg-type]
    for bad in (3, [3], b"x", [None]):
        with pytest.raises(InputError, match="exclude is"):
            read_images(folder, exclude=bad)  # type: ignore[arg-type]
    assert read_images(folder, value_range=np.array([0, 9])).value_ranges == {"every": (0, 9)}
    for wrong in (3, np.zeros((2, 2)), [1], b"0-9", "0", {}.keys(), object()):
        with pytest.raises(InputError, match="LOW-HIGH"):
            read_images(folder, value_range=wrong)
