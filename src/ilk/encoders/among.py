"""What an encoder that classifies by itself chooses among."""

from __future__ import annotations

from dataclasses import dataclass

from ilk.store import Store

PROMPTS = ("a photo of a {}.",)


@dataclass(frozen=True, eq=False)
class Among:
    """Classes, and how to put them to a network that reads text.

    Attributes:
        classes: Names, in the order of the scores; None takes all that the network knows.
        prompts: Sentences with `{}` for a class name.
        store: Where latents and texts are kept; None keeps none.
    """

    classes: tuple[str, ...] | None = None
    prompts: tuple[str, ...] = PROMPTS
    store: Store | None = None
