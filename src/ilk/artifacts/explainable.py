"""`explain`, which classifiers of one label and of several share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilk.explain.explanation import Explanation


class Explainable:
    """A classifier whose answers `ilk.explain` can explain."""

    def explain(
        self,
        image: Any,
        *,
        target: str | None = None,
        against: str | None = None,
        method: Any = "auto",
        seed: int = 0,
        budget: int | None = None,
    ) -> Explanation:
        """Return a heat map of what supports an answer, and whether it can be trusted.

        Args:
            image: One image, as for `predict`.
            target: The class, or label, to explain; by default the most probable one.
            against: A class to contrast it with, or `runner-up`; by default the calibrated
                probability of the target is explained.
            method: `auto`, or the name of an explainer, such as `rise`.
            seed: Seed of what is random; the same image and seed give the same map.
            budget: Passes of the encoder for one map that `auto` allows.

        Raises:
            InputError: The image cannot be read, or the class has no score.
            UnknownName: There is no such class or explainer.
            Unavailable: The explainer needs something that this classifier does not have.
        """
        from ilk.explain.explain_image import explain_image

        return explain_image(
            self, image, target=target, against=against, method=method, seed=seed, budget=budget
        )
