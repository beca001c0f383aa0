"""Losses of distillation by name: the objectives that have a teacher."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from ilk.core.errors import InputError
from ilk.core.registry import parse_call

if TYPE_CHECKING:
    from torch import Tensor

    from ilk.training.teacher_objective import TeacherObjective

TEACHER = "teacher_logits"  # the argument that is not a setting


@cache
def list_losses() -> dict[str, type[TeacherObjective]]:
    """Return the losses by name, sorted."""
    from ilk.training.objectives import list_objectives
    from ilk.training.teacher_objective import TeacherObjective

    found = list_objectives().items()
    return {name: kind for name, kind in found if issubclass(kind, TeacherObjective)}


def parse_loss(text: str) -> Callable[[Tensor], TeacherObjective]:
    """Return what makes the loss that `text` names from the teacher's log-probabilities `[n, k]`.

    Args:
        text: A name with settings, such as `KD(temperature=4)`.

    Raises:
        UnknownName: There is no such loss.
        InputError: A setting is unknown, out of range or of another type.
    """
    if TEACHER in text:
        raise InputError(f"cannot read loss {text!r}: the teacher cannot be set")
    made = parse_call(text, cast(Any, _list_makers()), "loss")
    return cast("Callable[[Tensor], TeacherObjective]", made)


@cache
def _list_makers() -> dict[str, _Maker]:
    return {name: _Maker(kind) for name, kind in list_losses().items()}


class _Maker:
    """Checks the settings of a loss, and returns what makes it from a teacher."""

    def __init__(self, kind: type[TeacherObjective]) -> None:
        self.kind = kind
        hints = get_type_hints(kind.__init__)
        self.__annotations__ = {n: h for n, h in hints.items() if n not in (TEACHER, "return")}

    def __call__(self, **settings: Any) -> Callable[[Tensor], TeacherObjective]:
        self.kind(None, **settings)
        return partial(self.kind, **settings)
