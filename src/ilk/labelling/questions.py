"""Which image an annotator is asked next.

Of the questions of each annotator, one in five walks through the audit (`ilk.labelling.audit`), and
where several label, one in ten is an image that another has labelled: of a stated share of the
images, and of the audit, which all of them answer. The rest comes in the order that the model
suggests, and no image of it is asked of two annotators. Nothing tells an annotator which is which.

An image that was skipped is asked once more when nothing else is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ilk.labelling.answers import Answers
from ilk.labelling.audit import EVERY
from ilk.labelling.events import SKIP

SHARED_EVERY = 10  # where several label, one question in so many is one that another has answered


class Questions:
    """The questions that are open, by annotator. Not thread-safe: the session holds a lock.

    Args:
        digests: All images, in the order in which they are asked while the model suggests none. At
            random rather than by path: whoever answers faster than the first fit, in a folder
            sorted by class, would otherwise see one class alone.
        audit: Images of the audit, in its order.
        shared: Images that every annotator is asked.
        has_label: Whether the folder gives an image a class, by position.
        is_gone: Whether the file of an image is missing.
    """

    def __init__(
        self,
        digests: Sequence[str],
        audit: Sequence[str],
        shared: Iterable[str],
        has_label: Sequence[bool],
        is_gone: Callable[[str], bool],
    ) -> None:
        self._free = {
            d: None for d, labelled in zip(digests, has_label, strict=True) if not labelled
        }
        self._open = dict(self._free)  # answered by nobody
        self._audit, self._shared = audit, dict.fromkeys(shared)
        self._common: dict[str, None] = {}  # shared images with an answer
        self._asked: dict[str, dict[str, None]] = {}
        self._queue: dict[str, None] = {}
        self._is_gone = is_gone

    def suggest(self, digests: Sequence[str]) -> None:
        """Replace the order in which images are asked; those left over come after it."""
        self._queue = {d: None for d in digests if d in self._open}

    def update(self, digests: Iterable[str], answers: Answers) -> None:
        """Take changed answers into account; who took one back is asked again at once."""
        for digest in digests:
            if digest not in self._free:
                continue
            by = [a for a in answers.annotators if answers.get_answer(a, digest)]
            if by or answers.settle(digest):
                self._open.pop(digest, None)
                self._queue.pop(digest, None)
                if digest in self._shared:
                    self._common.setdefault(digest)
            else:
                self._open.setdefault(digest)
                self._common.pop(digest, None)
            for annotator in by:
                self._asked.get(annotator, {}).pop(digest, None)

    def ask_again(self, annotator: str, digests: Iterable[str]) -> None:
        """Put images first, such as those whose answer was taken back."""
        first = {d: None for d in digests if d in self._free}
        self._asked[annotator] = first | self._asked.get(annotator, {})

    def list_next(self, annotator: str, count: int, answers: Answers) -> list[str]:
        """Return the next questions of an annotator, at most `count`; the same until answered."""
        asked = self._asked.setdefault(annotator, {})
        for digest in [d for d in asked if self._is_gone(d)]:
            del asked[digest]
        while len(asked) < count:
            turn = answers.count_answers(annotator) + len(asked)
            found = next(self._iterate(annotator, turn, answers), None)
            if found is None:
                break
            asked[found] = None
        return list(asked)[:count]

    def _iterate(self, annotator: str, turn: int, answers: Answers) -> Iterator[str]:
        """Yield images to ask in order of preference."""
        asked = self._asked[annotator]
        elsewhere = {d for name, others in self._asked.items() if name != annotator for d in others}

        def is_new(digest: str) -> bool:
            is_answered = answers.get_answer(annotator, digest) is not None
            return digest not in asked and not is_answered and not self._is_gone(digest)

        audit = (d for d in self._audit if d in self._free and is_new(d))
        common = (d for d in self._common if is_new(d))
        queue = (d for d in self._queue if d not in elsewhere and is_new(d))
        rest = (d for d in self._open if d not in elsewhere and is_new(d))
        if turn % EVERY == EVERY - 1:
            yield from audit
        elif turn % SHARED_EVERY == SHARED_EVERY // 2:
            yield from common
        yield from queue
        yield from rest
        yield from audit
        yield from common
        for digest in answers.list_answered(annotator):
            event = answers.get_answer(annotator, digest)
            is_skipped = event is not None and event.kind == SKIP
            is_once = is_skipped and answers.count_skips(annotator, digest) == 1
            if is_once and digest not in asked and not self._is_gone(digest):
                yield digest
