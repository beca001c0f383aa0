"""The images of a fit out of core, whose intake report lists what is not used."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from ilk.images import Images


class ShardImages(Images):
    """Images that the manifest lists: the intake report counts all, and lists the refused ones."""

    def to_json(self) -> dict[str, Any]:
        """Return the intake report; the used rows are those of the manifest."""
        rest = Images(**{f.name: getattr(self, f.name) for f in fields(Images) if f.init})
        listed = replace(rest, rows=tuple(row for row in self.rows if row.status != "used"))
        return {
            **listed.to_json(),
            "counts": self.count_rows(),
            "listed": "rows that are not used; the others are those of the manifest of the shards",
        }

    @classmethod
    def from_images(cls, images: Images) -> ShardImages:
        """Return the same images."""
        return cls(**{f.name: getattr(images, f.name) for f in fields(Images) if f.init})
