"""Features that are not kept: those of patches, and of images that were made to be scored once.

The patches of an image are 20 times as many numbers as its features (119 kB with
`efficientnet-lite0`), so they go to a temporary file and not to the user's store.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ilk.store import Store


@contextmanager
def open_scratch_store() -> Iterator[Store]:
    """Return a store that is deleted when the block ends."""
    with TemporaryDirectory(prefix="ilk-", ignore_cleanup_errors=True) as folder:
        store = Store(Path(folder) / "scratch.sqlite")
        try:
            yield store
        finally:
            store.close()
