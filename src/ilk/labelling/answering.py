"""`AnsweringSession`: what annotators are asked, and what they answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ilk.labelling.answers import Disagreement
from ilk.labelling.events import (
    ADD_CLASS,
    ANSWERS,
    LABEL,
    NO_ANNOTATOR,
    RESOLVE,
    SKIP,
    UNDO,
    UNSURE,
    Event,
)
from ilk.labelling.learning import LearningSession
from ilk.labelling.names import check_annotator, check_class_name
from ilk.labelling.results import OwnAnswer, Suggestion, UndoneAnswer

MAX_RANKING = 5  # classes that are shown with their probabilities


class AnsweringSession(LearningSession):
    """A session that asks and keeps answers; each is on the disk when its method returns."""

    def next_item(self, annotator: str) -> Suggestion | None:
        """Return the next image for an annotator, the same until it is answered; None at the end.

        What is suggested comes from a model that has learned from no answer for this image.
        """
        found = self.next_items(annotator, 1)
        return found[0] if found else None

    def next_items(self, annotator: str, count: int) -> list[Suggestion]:
        """Return the next `count` images for an annotator, of which a page can load some ahead."""
        annotator = check_annotator(annotator)
        with self._lock:
            digests = self._questions.list_next(annotator, count, self._answers)
            return [self._suggest(digest) for digest in digests]

    def suggest(self, digest: str) -> Suggestion:
        """Return what the model says of one image.

        Raises:
            InputError: The folder has no such image.
        """
        with self._lock:
            self._check_digests([digest])
            return self._suggest(digest)

    def _suggest(self, digest: str) -> Suggestion:
        path, snapshot = self.items[self._position[digest]].path, self._snapshot
        if snapshot is None:
            return Suggestion(digest, path)
        p = snapshot.answer(self._position[digest])
        best = np.argsort(-p, kind="stable")[:MAX_RANKING]
        ranking = tuple((snapshot.classes[c], float(p[c])) for c in best if p[c] > 0)
        return Suggestion(digest, path, ranking[0][0], ranking[0][1], ranking)

    def add_class(self, name: str, *, annotator: str = NO_ANNOTATOR, key: str = "") -> str:
        """Add a class; return its name as it is kept: one that is spelled alike is the same class.

        Args:
            name: The class.
            annotator: Who adds it, and can undo that; "" for nobody.
            key: Names this call: repeated with the same key, it changes nothing. "" for none.

        Raises:
            InputError: The name is empty or cannot be one.
            OutputError: The log cannot be written.
        """
        annotator = check_annotator(annotator) if annotator else NO_ANNOTATOR
        with self._lock:
            if key in self._answers.by_key:
                return self._answers.by_key[key].label
            name = check_class_name(name, self.classes)
            if name not in self.classes:
                self._take_in(self.log.append(annotator, ADD_CLASS, label=name, key=key))
        return name

    def assign(
        self, annotator: str, digests: str | Iterable[str], label: str, *, key: str = ""
    ) -> str:
        """Give images a class, which may be new; return the class as it is kept.

        The answer is on the disk when this returns. An earlier answer of the annotator for an image
        is replaced, and comes back with `undo`.

        Args:
            annotator: Who answers.
            digests: An image or several.
            label: The class.
            key: Names this call: repeated with the same key, it changes nothing. "" for none.

        Raises:
            InputError: The folder has no such image, or the name cannot be that of a class.
            OutputError: The log cannot be written; nothing is changed.
        """
        return self._answer(annotator, LABEL, _to_list(digests), label, key=key)

    def skip(self, annotator: str, digest: str, *, key: str = "") -> None:
        """Leave an image for later: it is asked once more, when nothing else is left."""
        self._answer(annotator, SKIP, [digest], key=key)

    def mark_unsure(self, annotator: str, digest: str, *, key: str = "") -> None:
        """Say that the class of an image cannot be told; it is not asked again."""
        self._answer(annotator, UNSURE, [digest], key=key)

    def undo(self, annotator: str, *, key: str = "") -> UndoneAnswer | None:
        """Take back the newest answer of an annotator, a group as a whole; None without any.

        The log keeps both, so this works after a restart as well, one answer after the other. Its
        images are asked again next. Repeated with the same `key`, the call changes nothing.
        """
        annotator = check_annotator(annotator)
        with self._lock:
            if key in self._answers.by_key:
                event = self._answers.get_event(self._answers.by_key[key].target)
                return None if event is None else _to_undone(event)
            event = self._answers.find_last(annotator)
            if event is None:
                return None
            self._take_in(self.log.append(annotator, UNDO, target=event.number, key=key))
            if event.kind in ANSWERS:
                self._questions.ask_again(annotator, event.digests)
            return _to_undone(event)

    def list_disagreements(self) -> list[Disagreement]:
        """Return the images to which annotators gave different classes, and nobody the last."""
        with self._lock:
            return [d for d in self._answers.list_disagreements() if d.digest in self._position]

    def resolve(
        self, digest: str, label: str, *, annotator: str = "resolver", key: str = ""
    ) -> str:
        """Settle the class of an image, whatever annotators have said; return it as it is kept."""
        return self._answer(annotator, RESOLVE, [digest], label, key=key)

    def get_answer(self, annotator: str, digest: str) -> tuple[str, str] | None:
        """Return an annotator's own answer for an image, as kind and class, or None."""
        with self._lock:
            event = self._answers.get_answer(annotator, digest)
            return None if event is None else (event.kind, event.label)

    def list_labels(self, annotator: str) -> list[OwnAnswer]:
        """Return an annotator's own answers, the newest first: what a page of corrections shows."""
        annotator = check_annotator(annotator)
        with self._lock:
            newest = self._answers.list_newest(annotator)
            return [OwnAnswer(d, e.kind, e.label) for d, e in newest if d in self._position]

    def _answer(
        self, annotator: str, kind: str, digests: Sequence[str], label: str = "", *, key: str = ""
    ) -> str:
        annotator = check_annotator(annotator)
        with self._lock:
            if key in self._answers.by_key:
                return self._answers.by_key[key].label
            self._check_digests(digests)
            label = check_class_name(label, self.classes) if kind in (LABEL, RESOLVE) else ""
            self._take_in(self.log.append(annotator, kind, digests, label, key=key))
        return label


def _to_undone(event: Event) -> UndoneAnswer:
    return UndoneAnswer(event.kind, event.digests, event.label)


def _to_list(digests: str | Iterable[str]) -> list[str]:
    return [digests] if isinstance(digests, str) else list(dict.fromkeys(digests))
