"""Engines: what encodes the shards of a folder, here or on a cluster.

An engine is a file `NAME_engine.py` of this folder with a function `run`. The set of finished parts
is the only record of what is done; an engine may lose workers, repeat shards or be killed, and the
rows are there exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from ilk.core.capabilities import Embeds
from ilk.core.errors import InputError
from ilk.shards.encode import Meter
from ilk.shards.parts import Part


class Engine(Protocol):
    """Encodes shards; a module with this function."""

    def run(
        self,
        folder: Path,
        shard_numbers: Sequence[int],
        open_encoder: Callable[[], Embeds],
        meter: Meter,
        *,
        dtype: str = "float32",
        again: bool = False,
        address: str = "",
    ) -> Iterator[Part]:
        """Yield the part of every shard when it is done, in any order.

        Args:
            folder: The shard folder.
            shard_numbers: Numbers of the shards; those that are done cost nothing.
            open_encoder: Opens the encoder; can be pickled and called in another process.
            meter: Called with images done and busy seconds (`Part.seconds`), as they come.
            dtype: How features are stored.
            again: Passed to `encode_shard`.
            address: Where the engine runs, such as `ray://HOST:10001`; "" for this machine.
        """
        ...


def open_engine(on: str) -> tuple[Engine, str]:
    """Return the engine and the address that `--on` names: `local`, `ray` or `ray://HOST`.

    Raises:
        InputError: There is no such engine.
        Unavailable: Its package is not installed.
    """
    name, separator, _ = on.partition("://")
    module = f"ilk.shards.{name}_engine"
    if not name.isidentifier() or find_spec(module) is None or (separator and name == "local"):
        raise InputError(
            f"--on is {on}; it says where shards are encoded: local, ray, or ray://HOST:10001 for "
            "a cluster that runs"
        )
    engine: Engine = import_module(module)  # type: ignore[assignment]
    return engine, on if separator else ""
