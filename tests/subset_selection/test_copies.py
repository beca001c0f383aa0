"""Of copies of one picture one is kept, and none of a test image or of one with two labels."""

from types import SimpleNamespace

from ilk.images.duplicates.near_pairs import CONFLICT, LEAK
from ilk.subset_selection import copies as module
from ilk.subset_selection.copies import CONFLICTING, COPY, LEAKING, find_copies


def make_group(concerns, *members):
    files = [SimpleNamespace(position=p, path=f"{p}.png", split=split) for p, split in members]
    return SimpleNamespace(concerns=concerns, members=files)


def test_which_copies_are_left_out(monkeypatch):
    groups = [
        make_group("", (4, "train"), (2, "train"), (3, "train")),
        make_group(LEAK, (5, "train"), (6, "test"), (7, "train")),
        make_group(CONFLICT, (8, "train"), (9, "train")),
    ]
    found = SimpleNamespace(images=None, groups=groups)
    monkeypatch.setattr(module, "find_groups", lambda *_args, **_options: found)
    copies = find_copies(None, None, None)
    assert copies.reasons == {
        2: (COPY, "4.png"),
        3: (COPY, "4.png"),
        5: (LEAKING, "6.png"),
        7: (LEAKING, "6.png"),
        8: (CONFLICTING, "9.png"),
        9: (CONFLICTING, "8.png"),
    }
    assert copies.count(LEAKING) == 2
