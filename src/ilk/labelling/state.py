"""`SessionState`: a folder, what its log says of it, and which questions are open."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np

from ilk.core.errors import InputError
from ilk.images import Images
from ilk.labelling.answers import Answers
from ilk.labelling.audit import count_reserved, find_slice
from ilk.labelling.events import OPEN, Event
from ilk.labelling.items import Item, draw_numbers
from ilk.labelling.log import EventLog
from ilk.labelling.names import check_annotator, check_class_name
from ilk.labelling.opening import check_log_is_of
from ilk.labelling.questions import Questions

SHARED_SHARE = 0.1  # of the images are asked of every annotator


class SessionState:
    """The images of a folder and the answers for them. Thread-safe.

    Args:
        images: The folder.
        items: Its images that can be used.
        log: The log, open.
        classes: Class names, besides those that the folder and the log have.
        seed: Seed of the audit and of the orders; that of the log counts, where it has one.
        shared: Share of the images that every annotator is asked, besides the audit.
    """

    def __init__(
        self,
        images: Images,
        items: Sequence[Item],
        log: EventLog,
        *,
        classes: Sequence[str] = (),
        seed: int = 0,
        shared: float = SHARED_SHARE,
    ) -> None:
        if not 0 <= shared <= 1:
            raise InputError(f"shared is {shared}; it must lie between 0 and 1")
        self.images, self.items, self.log = images, tuple(items), log
        self._lock = threading.RLock()
        self._digests = tuple(item.digest for item in self.items)
        self._position = {d: i for i, d in enumerate(self._digests)}
        self._paths = {item.digest: item.path for item in self.items}
        self._rows = {row.digest: row for row in images.used}
        self._gone: set[str] = set()
        self._unreadable: set[str] = set()
        events = log.read_events()
        check_log_is_of(log.path, events, self._position, images)
        self.seed = next((e.target for e in events if e.kind == OPEN), seed)
        self._read_classes(classes, events)
        self._given = np.array([item.given_label is not None for item in self.items])
        self._y = np.full(len(self.items), -1, np.int64)
        self._audit = self._draw_audit()
        self._questions = self._prepare_questions(shared)
        self._n_changes = 0
        self._update_rows(self._digests)

    def _read_classes(self, classes: Sequence[str], events: Sequence[Event]) -> None:
        """Take all events into account, and number the classes in the order in which they came."""
        self._answers = Answers()
        for event in events:
            self._answers.apply(event)
        own = [check_class_name(name) for name in classes]
        given = sorted({item.given_label for item in self.items if item.given_label})
        self._own_classes = tuple(dict.fromkeys((*own, *given)))
        self._classes = dict.fromkeys((*self._own_classes, *(e.label for e in events if e.label)))
        self._column = {name: c for c, name in enumerate(self._classes)}

    def _prepare_questions(self, shared: float) -> Questions:
        audit = [self._digests[i] for i in self._audit]
        numbers = draw_numbers(self._digests, self.seed, "shared")
        self._shared = [i for i, u in enumerate(numbers) if u < shared]
        common = [*audit, *(self._digests[i] for i in self._shared)]
        order = np.argsort(draw_numbers(self._digests, self.seed, "order"), kind="stable")
        digests, has_label = [self._digests[i] for i in order], self._given[order].tolist()
        return Questions(digests, audit, common, has_label, self.is_gone)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order in which they came."""
        with self._lock:
            return tuple(dict.fromkeys((*self._own_classes, *self._answers.classes)))

    @property
    def annotators(self) -> tuple[str, ...]:
        """Who has answered so far."""
        with self._lock:
            return tuple(self._answers.annotators)

    @property
    def paths(self) -> dict[str, str]:
        """Where each image was found, relative to the folder, by digest."""
        return self._paths

    def can_undo(self, annotator: str) -> bool:
        """Whether an annotator has an answer that `undo` would take back."""
        with self._lock:
            return self._answers.find_last(check_annotator(annotator)) is not None

    def get_label(self, digest: str) -> str | None:
        """Return the class of an image: by annotators, else given; None without one."""
        with self._lock:
            self._check_digests([digest])
            return self._settle(digest)

    def mark_unreadable(self, digest: str) -> None:
        """Say that an image cannot be shown: it is not asked any more while the session is open."""
        with self._lock:
            self._check_digests([digest])
            self._unreadable.add(digest)

    def is_gone(self, digest: str) -> bool:
        """Whether an image cannot be asked: its file is missing now, or cannot be shown."""
        row = self._rows.get(digest)
        if digest in self._unreadable:
            return True
        if row is None or digest in self.images.contents:
            return False
        is_gone = not self.images.path_of(row).exists()
        (self._gone.add if is_gone else self._gone.discard)(digest)
        return is_gone

    def _take_in(self, event: Event) -> None:
        if event.label:
            self._know_class(event.label)
        changed = self._answers.apply(event)
        self._update_rows(changed)
        self._n_changes += len(changed)

    def _know_class(self, name: str) -> None:
        self._classes.setdefault(name)
        self._column.setdefault(name, len(self._column))

    def _check_digests(self, digests: Sequence[str]) -> None:
        if not digests:
            raise InputError("no image is named; choose at least one")
        for digest in digests:
            if digest not in self._position:
                raise InputError(
                    f"the folder has no image with the digest {digest!r}; reload the page, and "
                    "open the session again if images were added"
                )

    def _update_rows(self, digests: Iterable[str]) -> None:
        known = [d for d in digests if d in self._position]
        for digest in known:
            label = self._settle(digest)
            self._y[self._position[digest]] = -1 if label is None else self._column[label]
        self._questions.update(known, self._answers)

    def _settle(self, digest: str) -> str | None:
        label = self._answers.settle(digest)
        if label is None and not self._answers.list_labels(digest):
            return self.items[self._position[digest]].given_label
        return label

    def _draw_audit(self) -> list[int]:
        """Return the rows of the audit in its random order."""
        free = np.flatnonzero(~self._given)
        numbers = draw_numbers([self._digests[i] for i in free], self.seed, "audit")
        order = free[np.argsort(numbers, kind="stable")]
        return [int(i) for i in order[: count_reserved(len(free))]]

    def _find_audited(self) -> list[int]:
        """Return the rows of the audit slice, with those that have an answer but no class."""
        is_answered, lost = np.zeros(len(self.items), bool), self._gone | self._unreadable
        for i in self._audit:
            digest = self._digests[i]
            is_answered[i] = digest in lost or any(
                self._answers.get_answer(a, digest) for a in self._answers.annotators
            )
        return find_slice(self._audit, is_answered)
