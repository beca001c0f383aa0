"""What the workers of a Ray cluster report, where it is kept, and what the command makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ilk.core import errors
from ilk.core.errors import IlkError
from ilk.shards.encode import Meter

LOST = "lost"
Log = Callable[[str], None]


@dataclass(frozen=True)
class Event:
    """What happened to a shard.

    Attributes:
        kind: `begun`, `advanced`, `done`, or `failed`.
        shard: Its number.
        attempt: Number of the attempt, from 1.
        n: Images done so far in this attempt.
        seconds: Busy seconds by kind of work since the last event.
        error: Name of the exception, or `lost` if no attempt came to an end; of `failed`.
        message: Its text.
        place: Machine.
    """

    kind: Literal["begun", "advanced", "done", "failed"]
    shard: int
    attempt: int
    n: int = 0
    seconds: Mapping[str, float] | None = None
    error: str = ""
    message: str = ""
    place: str = ""


class Desk:
    """Counts the attempts of each shard, and keeps events until they are collected: an actor."""

    def __init__(self) -> None:
        self._attempts: dict[int, int] = {}
        self._events: list[Event] = []

    def begin(self, shard: int, place: str) -> int:
        """Note an attempt and return its number, from 1."""
        attempt = self._attempts[shard] = self._attempts.get(shard, 0) + 1
        self._events.append(Event("begun", shard, attempt, place=place))
        return attempt

    def post(self, event: Event) -> None:
        """Keep an event."""
        self._events.append(event)

    def collect(self) -> list[Event]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events


class Watch:
    """Turns events into progress and sentences.

    Args:
        meter: Takes progress.
        log: Takes sentences.
        max_attempts: Attempts of a shard.
    """

    def __init__(self, meter: Meter, log: Log, max_attempts: int) -> None:
        self._meter, self._log, self._max_attempts = meter, log, max_attempts
        self._counted: Counter[int] = Counter()
        self._why_lost: dict[int, str] = {}
        self.has_begun = False

    def take(self, event: Event) -> None:
        """Take one event.

        Raises:
            IlkError: A worker failed in a way that another attempt would not change.
        """
        self.has_begun = True
        if event.kind == "begun" and 1 < event.attempt <= self._max_attempts:
            self._log(
                f"the worker of shard {event.shard} died; attempt {event.attempt} of "
                f"{self._max_attempts} on {event.place}"
            )
        if event.kind == "failed" and event.error == LOST:
            self._why_lost[event.shard] = event.message
        elif event.kind == "failed":
            kind = getattr(errors, event.error, IlkError)
            raise kind(f"{event.message} (shard {event.shard}, worker {event.place})")
        new = max(0, event.n - self._counted[event.shard])
        self._counted[event.shard] += new
        if new or event.seconds:
            self._meter(new, event.seconds or {})

    def explain_lost(self, shards: Sequence[int]) -> str:
        """Say why shards have no part."""
        known = sorted({self._why_lost[i] for i in shards if i in self._why_lost})
        return known[-1] if known else "the cluster ended without writing them"
