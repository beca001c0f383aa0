"""What `ilk condense` made or chose, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ilk.core.metrics import Interval
from ilk.subset_selection.folder import FolderImage
from ilk.subset_selection.judgement import Judgement


@dataclass(frozen=True, eq=False)
class CondenseResult:
    """What was made or chosen, and what it costs.

    Attributes:
        method: The method.
        scores: Accuracy of each method tried, on the images that chose.
        judgements: What is lost, by classifier: `network` and `head`.
        images: The images, to be written.
        n_training: Images that were condensed.
        n_judged: Held-out images that judged.
        classes: Names of the classes.
        shape: `(c, h, w)` of synthetic images.
        notes: Sentences about the result.
    """

    method: str
    scores: Mapping[str, Interval]
    judgements: Mapping[str, Judgement]
    images: Sequence[FolderImage]
    n_training: int
    n_judged: int
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    notes: Sequence[str] = field(default_factory=list)

    @property
    def is_synthetic(self) -> bool:
        """Whether the images were made."""
        return any(image.synthetic for image in self.images)

    def to_json(self) -> dict[str, Any]:
        """Return all but the images as plain values."""
        return {
            "method": self.method,
            "synthetic": self.is_synthetic,
            "per_class": len(self.images) // len(self.classes),
            "classes": list(self.classes),
            "training_images": self.n_training,
            "judged_images": self.n_judged,
            "shape": list(self.shape),
            "choice": {name: asdict(value) for name, value in self.scores.items()},
            "lost": {name: asdict(value) for name, value in self.judgements.items()},
            "notes": list(self.notes),
        }
