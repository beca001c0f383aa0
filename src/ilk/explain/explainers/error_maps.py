"""Error maps of a diffusion classifier: where the image is denoised better under the target.

Alexander C. Li and others, 2023, Your Diffusion Model is Secretly a Zero-Shot Classifier, arXiv
2303.16203: the score of a class is a mean over pixels, so the difference of two scores is the mean
of one term per pixel, `w_j (e_j(other) - e_j(target))` at the mean over noise levels j. Nothing is
taken away from the image and nothing is approximated.

The other class is the one that the answer is contrasted with, or else the most probable other one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ilk.core.errors import Unavailable
from ilk.explain.contract import ExplainerTags, Map
from ilk.explain.subject import Subject
from ilk.explain.windows import resize_map


@dataclass(frozen=True)
class ErrorMaps(ExplainerTags):
    """Difference of the denoising errors of two classes."""

    name: ClassVar[str] = "error-maps"
    paper: ClassVar[str] = "Li and others 2023"
    needs_class_errors: ClassVar[bool] = True
    default_candidate: ClassVar[bool] = True

    def count_passes(self, subject: Subject, /) -> int:
        """Return the cost of one map, about that of one image."""
        return 1

    def explain(self, subject: Subject, seed: int, /) -> Map:
        """Return the difference of the errors at each pixel."""
        encoder, answer = subject.encoder, subject.answer
        compute = getattr(encoder, "compute_difference", None)
        if compute is None:
            raise Unavailable(
                f"{self.name} needs a diffusion classifier, and {encoder.name} is not one; use "
                "--method occlusion"
            )
        other = answer.against
        if other < 0:
            z = answer.compute_logits(subject.features[None])[0]
            other = int(np.where(np.arange(len(z)) == answer.target, -np.inf, z).argmax())
        names = answer.classifier.classes
        known = {name: i for i, name in enumerate(encoder.classes)}  # type: ignore[attr-defined]
        if missing := [n for n in (names[answer.target], names[other]) if n not in known]:
            raise Unavailable(f"{encoder.name} does not know the class {missing[0]!r}")
        values = compute(subject.prepared, known[names[answer.target]], known[names[other]])
        subject.n_passes += 1
        return resize_map(np.asarray(values, np.float32), subject.shape)
