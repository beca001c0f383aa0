"""Losses of distillation by name: the objectives that have a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from ilk.core.errors import InputError
from ilk.core.registry import parse_call

if TYPE_CHECKING:
    from torch import Tensor

    from ilk.training.teacher_objective import TeacherObjective

COMPUTED = ("teacher_logits", "similarities")  # arguments that are no settings


@dataclass(frozen=True, eq=False)
class Loss:
    """A loss with its settings, still without a teacher.

    Attributes:
        kind: Its class.
        settings: Its settings by name.
    """

    kind: type[TeacherObjective]
    settings: Mapping[str, Any]

    @property
    def takes_sources(self) -> bool:
        """Whether several teachers may have classes of their own, and are weighted by similarity.

        Otherwise the mean of their probabilities teaches.
        """
        return self.kind.takes_sources

    @property
    def needs_similarities(self) -> bool:
        """Whether the weights of several teachers are to be computed, and are not given."""
        return self.takes_sources and self.settings.get("weights") is None

    def __call__(
        self,
        teacher_logits: Tensor | Sequence[Tensor],
        similarities: Sequence[float] | None = None,
    ) -> TeacherObjective:
        """Return the objective.

        Args:
            teacher_logits: Log-probabilities of the teacher for each training image, `[n, k]`, or
                of each of several, if the loss takes them.
            similarities: Of each teacher to the task, if the loss takes them.

        Raises:
            InputError: The weights in its settings are not one for each teacher.
        """
        given = {} if similarities is None else {"similarities": similarities}
        return self.kind(cast(Any, teacher_logits), **self.settings, **given)


@cache
def list_losses() -> dict[str, type[TeacherObjective]]:
    """Return the losses by name, sorted."""
    from ilk.training.objectives import list_objectives
    from ilk.training.teacher_objective import TeacherObjective

    found = list_objectives().items()
    return {name: kind for name, kind in found if issubclass(kind, TeacherObjective)}


def parse_loss(text: str) -> Loss:
    """Return the loss that `text` names.

    Args:
        text: A name with settings, such as `KD(temperature=4)`.

    Raises:
        UnknownName: There is no such loss.
        InputError: A setting is unknown, out of range or of another type.
    """
    if any(name in text for name in COMPUTED):
        raise InputError(
            f"cannot read loss {text!r}: {' and '.join(COMPUTED)} cannot be set; they come from "
            "the teachers"
        )
    return cast(Loss, parse_call(text, cast(Any, _list_makers()), "loss"))


@cache
def _list_makers() -> dict[str, _Maker]:
    return {name: _Maker(kind) for name, kind in list_losses().items()}


class _Maker:
    """Checks the settings of a loss."""

    def __init__(self, kind: type[TeacherObjective]) -> None:
        self.kind = kind
        hints = get_type_hints(kind.__init__)
        unset = (*COMPUTED, "return")
        self.__annotations__ = {n: h for n, h in hints.items() if n not in unset}

    def __call__(self, **settings: Any) -> Loss:
        self.kind(None, **settings)
        return Loss(self.kind, settings)
