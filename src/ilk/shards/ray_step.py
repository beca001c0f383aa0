"""What runs on the workers of a Ray cluster: shards are encoded, and a desk hears how it goes.

No exception leaves the step, because one would abort the whole job, and no feature either: parts
are written where all machines see them.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ilk import __version__
from ilk.core.capabilities import Embeds
from ilk.core.errors import ArtifactError, IlkError, Unavailable
from ilk.images.rows import escape_path
from ilk.shards.encode import encode_shard
from ilk.shards.manifest import Manifest
from ilk.shards.ray_events import LOST, Event

REPORT_SECONDS = 0.5  # between two reports of a shard in progress
SEE_SECONDS = 15.0  # that a network disk may take to show a new file


@dataclass(frozen=True)
class StepConfig:
    """What every worker is told.

    Attributes:
        folder: The shard folder, absolute.
        mark: Name of a file in it, which a worker must see.
        manifest: Digest of the manifest's rows.
        space: Key of the encoder's space.
        open_encoder: Opens the encoder.
        dtype: As in `encode_shard`.
        again: As in `encode_shard`.
        n_threads: Threads of a worker.
        max_attempts: Attempts of a shard whose worker dies.
        directory: Folder that relative paths in the name of an encoder start from.
        version: Version of ilk.
    """

    folder: str
    mark: str
    manifest: str
    space: str
    open_encoder: Callable[[], Embeds]
    dtype: str
    again: bool
    n_threads: int
    max_attempts: int
    directory: str
    version: str = __version__


class EncodeShards:
    """The step of Ray Data: one encoder per actor, opened with its first shard."""

    def __init__(self, config: StepConfig, desk: Any) -> None:
        self._config, self._desk = config, desk
        self._encoder: Embeds | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Encode the shards `batch["shard"]`, `[b]` int64, and return how many rows each has."""
        n = [self._encode(int(i)) for i in batch["shard"]]
        return {"shard": batch["shard"], "n": np.array(n, np.int64)}

    def _encode(self, i: int) -> int:
        import ray

        place = socket.gethostname()
        attempt = int(ray.get(self._desk.begin.remote(i, place)))

        def fail(error: str, message: str) -> int:
            event = Event("failed", i, attempt, error=error, message=message, place=place)
            ray.get(self._desk.post.remote(event))
            return -1

        if attempt > self._config.max_attempts:
            return fail(LOST, f"its worker died {attempt - 1} times")
        report = _Report(self._desk, i, attempt, place)
        try:
            part = encode_shard(
                self._config.folder,
                i,
                self._open_encoder(place),
                dtype=self._config.dtype,
                n_threads=self._config.n_threads,
                again=self._config.again,
                meter=report.add,
            )
        except IlkError as error:
            return fail(type(error).__name__, str(error))
        except Exception as error:
            return fail("IlkError", f"{type(error).__name__}: {error}")
        ray.get(self._desk.post.remote(report.make_event("done", part.n)))
        return part.n

    def _open_encoder(self, place: str) -> Embeds:
        """Return the encoder of this worker, once it is clear that both sides mean the same.

        Raises:
            Unavailable: This machine does not see the folder, or has another version of ilk.
            ArtifactError: It sees another manifest, or has other weights.
        """
        if self._encoder is None:
            check_worker(self._config, place)
            with suppress(OSError):  # a machine without it has no file there either
                os.chdir(self._config.directory)
            encoder = self._config.open_encoder()
            if encoder.space.key != self._config.space:
                raise ArtifactError(
                    f"{encoder.name} on the worker {place} has different weights, preprocessing or "
                    "precision than here; put the same files on every machine"
                )
            self._encoder = encoder
        return self._encoder


def check_worker(config: StepConfig, place: str, seconds: float = SEE_SECONDS) -> None:
    """Check that a worker sees the folder and has the same ilk.

    Args:
        config: What the driver says.
        place: Name of the worker's machine.
        seconds: Time that a network disk may take.

    Raises:
        Unavailable: It does not.
        ArtifactError: It sees another manifest.
    """
    if config.version != __version__:
        raise Unavailable(
            f"the worker {place} has ilk {__version__}, and this machine {config.version}; install "
            "the same version on every machine"
        )
    mark, until = Path(config.folder) / config.mark, time.monotonic() + seconds
    while not mark.exists():
        if time.monotonic() > until:
            raise Unavailable(
                f"the worker {place} does not see {escape_path(config.folder)} as it is here; use "
                "a folder that is shared by all machines under the same path"
            )
        time.sleep(0.2)
    if Manifest.read(config.folder).digest != config.manifest:
        raise ArtifactError(
            f"the manifest in {escape_path(config.folder)} has changed since the command began; "
            "run it again"
        )


@dataclass
class _Report:
    """Tells the desk now and then how far a shard is."""

    desk: Any
    shard: int
    attempt: int
    place: str
    n: int = 0
    sent_at: float = 0.0

    def __post_init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def add(self, n: int, seconds: Mapping[str, float]) -> None:
        """Take what `encode_shard` says."""
        self.n += n
        for name, value in seconds.items():
            self._seconds[name] = self._seconds.get(name, 0.0) + value
        if time.monotonic() - self.sent_at > REPORT_SECONDS:
            self.sent_at = time.monotonic()
            self.desk.post.remote(self.make_event("advanced", self.n))

    def make_event(self, kind: Literal["advanced", "done"], n: int) -> Event:
        """Return an event with the busy seconds since the last one."""
        seconds, self._seconds = self._seconds, {}
        return Event(kind, self.shard, self.attempt, n, seconds, place=self.place)
