"""`Answers`: what all events of a log amount to."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

from ilk.labelling.events import (
    ANSWERS,
    LABEL,
    NO_ANNOTATOR,
    RESOLVE,
    SKIP,
    UNDO,
    UNDOABLE,
    UNSURE,
    Event,
)


@dataclass(frozen=True)
class Disagreement:
    """An image to which annotators gave different classes.

    Attributes:
        digest: The image.
        labels: Annotator and class, by annotator.
    """

    digest: str
    labels: tuple[tuple[str, str], ...]


class Answers:
    """The current answers of every annotator, and what they settle.

    The label of an image is what a resolution says; without one, what all annotators who gave it a
    class agree on; where they differ it has none, so that no model learns from it before it is
    resolved. Being unsure contradicts no class.

    A class is there while it has been added, or an answer names it.
    """

    def __init__(self) -> None:
        self.by_key: dict[str, Event] = {}
        self._by_number: dict[int, Event] = {}
        self._mentions: Counter[str] = Counter()  # events that stand, by class, in order of arrival
        self.annotators: dict[str, None] = {}
        self.disputed: dict[str, None] = {}
        self._active: dict[str, dict[int, Event]] = defaultdict(dict)  # not undone, by annotator
        self._stacks: dict[str, dict[str, list[Event]]] = defaultdict(dict)  # annotator, digest
        self._resolutions: dict[str, list[Event]] = {}
        self._by_digest: dict[str, dict[str, Event]] = {}  # newest answer of each annotator
        self._n_answered: dict[str, int] = defaultdict(int)

    @property
    def classes(self) -> list[str]:
        """The classes that were added or are in use, in the order in which they came."""
        return [name for name, count in self._mentions.items() if count > 0]

    def apply(self, event: Event) -> tuple[str, ...]:
        """Take an event into account; return the images whose answers may have changed."""
        if event.key:
            self.by_key[event.key] = event
        if event.kind == UNDO:
            return self._take_back(event)
        if event.kind not in UNDOABLE:
            return ()
        self._by_number[event.number] = event
        if event.kind in ANSWERS:
            self.annotators.setdefault(event.annotator)
        if event.annotator != NO_ANNOTATOR:
            self._active[event.annotator][event.number] = event
        self._n_answered[event.annotator] += event.kind in ANSWERS
        if event.label:
            self._mentions[event.label] += 1
        for digest in event.digests:
            if event.kind == RESOLVE:
                self._resolutions.setdefault(digest, []).append(event)
            else:
                self._stacks[event.annotator].setdefault(digest, []).append(event)
                self._by_digest.setdefault(digest, {})[event.annotator] = event
            self._update_dispute(digest)
        return event.digests

    def _take_back(self, undo: Event) -> tuple[str, ...]:
        event = self._active[undo.annotator].pop(undo.target, None)
        if event is None:
            return ()
        self._n_answered[event.annotator] -= event.kind in ANSWERS
        if event.label:
            self._mentions[event.label] -= 1
        for digest in event.digests:
            if event.kind == RESOLVE:
                self._resolutions[digest].remove(event)
            else:
                stack = self._stacks[event.annotator][digest]
                stack.remove(event)
                if stack:
                    self._by_digest[digest][event.annotator] = stack[-1]
                else:
                    del self._by_digest[digest][event.annotator]
            self._update_dispute(digest)
        return event.digests

    def get_event(self, number: int) -> Event | None:
        """Return an event that can be undone, by its number, also when it has been."""
        return self._by_number.get(number)

    def _update_dispute(self, digest: str) -> None:
        if not self._resolutions.get(digest) and len(set(self.list_labels(digest).values())) > 1:
            self.disputed.setdefault(digest)
        else:
            self.disputed.pop(digest, None)

    def find_last(self, annotator: str) -> Event | None:
        """Return the newest event of an annotator that can be undone, or None."""
        active = self._active.get(annotator)
        return active[next(reversed(active))] if active else None

    def count_answers(self, annotator: str) -> int:
        """Return how many answers of an annotator stand, a group counting once."""
        return self._n_answered[annotator]

    def get_answer(self, annotator: str, digest: str) -> Event | None:
        """Return the newest answer of an annotator for an image, or None."""
        return self._by_digest.get(digest, {}).get(annotator)

    def count_skips(self, annotator: str, digest: str) -> int:
        """Return how often an annotator skipped an image."""
        stack = self._stacks.get(annotator, {}).get(digest, ())
        return sum(event.kind == SKIP for event in stack)

    def list_labels(self, digest: str) -> dict[str, str]:
        """Return the class that each annotator gives an image, by annotator."""
        answers = self._by_digest.get(digest, {})
        return {name: e.label for name, e in answers.items() if e.kind == LABEL}

    def list_answered(self, annotator: str) -> list[str]:
        """Return the images that an annotator has given any answer."""
        return [digest for digest, stack in self._stacks.get(annotator, {}).items() if stack]

    def list_newest(self, annotator: str) -> list[tuple[str, Event]]:
        """Return the images that an annotator has answered with the answer, the newest first."""
        stacks = self._stacks.get(annotator, {})
        newest = [(digest, stack[-1]) for digest, stack in stacks.items() if stack]
        return sorted(newest, key=lambda pair: -pair[1].number)

    def list_digests(self) -> list[str]:
        """Return all images with an answer or a resolution."""
        answered = [digest for digest, answers in self._by_digest.items() if answers]
        return list(dict.fromkeys([*answered, *(d for d, r in self._resolutions.items() if r)]))

    def is_unsure(self, digest: str) -> bool:
        """Whether an image has no class, and somebody could not tell it."""
        answers = self._by_digest.get(digest, {}).values()
        return self.settle(digest) is None and any(e.kind == UNSURE for e in answers)

    def settle(self, digest: str) -> str | None:
        """Return the class of an image, None where it has none or annotators differ."""
        if resolutions := self._resolutions.get(digest):
            return resolutions[-1].label
        labels = set(self.list_labels(digest).values())
        return labels.pop() if len(labels) == 1 else None

    def list_disagreements(self) -> list[Disagreement]:
        """Return the images whose annotators differ, without those that are resolved."""
        return [
            Disagreement(digest, tuple(sorted(self.list_labels(digest).items())))
            for digest in self.disputed
        ]
