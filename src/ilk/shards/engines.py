"""Engines, which encode the shards of a folder, on this machine or on a cluster.

An engine is a file `NAME_engine.py` of this folder with a function `run`. The set of finished parts
is the only record of what is done; an engine may lose workers, repeat shards or be killed, and the
rows are there exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from ilk.core.capabilities import Embeds
from ilk.core.errors import InputError
from ilk.shards.encode import Meter, ignore

WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class EngineOptions:
    """How an engine runs; None lets it choose.

    Attributes:
        address: Where it runs, such as `ray://HOST:10001`; "" for this machine.
        actors: Number of workers, each with an encoder of its own.
        cpus_per_actor: Cores of each.
        gpus_per_actor: GPUs of each, also parts of one.
        wait: Seconds that it waits for a cluster that gives no answer.
    """

    address: str = ""
    actors: int | None = None
    cpus_per_actor: float | None = None
    gpus_per_actor: float | None = None
    wait: float = WAIT_SECONDS


class Engine(Protocol):
    """Encodes shards; a module with this function."""

    def run(
        self,
        folder: Path,
        shard_numbers: Sequence[int],
        open_encoder: Callable[[], Embeds],
        *,
        dtype: str = "float32",
        again: bool = False,
        meter: Meter = ignore,
        log: Callable[[str], None] = lambda _line: None,
        options: EngineOptions = EngineOptions(),
    ) -> None:
        """Encode shards, and return when all their parts are done.

        Args:
            folder: The shard folder.
            shard_numbers: Numbers of the shards; those that are done cost nothing.
            open_encoder: Opens the encoder; can be pickled and called in another process.
            dtype: How features are stored.
            again: Passed to `encode_shard`.
            meter: Called with images done and busy seconds (`Part.seconds`), as they come.
            log: Called with a sentence about what happens to workers.
            options: How it runs.
        """
        ...


def open_engine(on: str) -> tuple[Engine, str]:
    """Return the engine and the address that `--on` names: `local`, `ray` or `ray://HOST`.

    Raises:
        InputError: There is no such engine.
    """
    name, separator, _ = on.partition("://")
    module = f"ilk.shards.{name}_engine"
    if not name.isidentifier() or find_spec(module) is None or (separator and name == "local"):
        raise InputError(
            f"--on is {on}; shards are encoded on: local, ray, or ray://HOST:10001, a cluster that "
            "is running"
        )
    engine: Engine = import_module(module)
    return engine, on if separator else ""
