"""The engine of this machine: one thread per core, as the store is filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ilk.core.capabilities import Embeds
from ilk.shards.encode import Meter, encode_shards, ignore
from ilk.shards.engines import EngineOptions


def run(
    folder: Path,
    shard_numbers: Sequence[int],
    open_encoder: Callable[[], Embeds],
    *,
    dtype: str = "float32",
    again: bool = False,
    meter: Meter = ignore,
    log: Callable[[str], None] = lambda _line: None,
    options: EngineOptions = EngineOptions(),  # noqa: B008  (frozen)
) -> None:
    """Encode shards one after another; see `ilk.shards.engines.Engine`."""
    parts = encode_shards(
        folder, shard_numbers, open_encoder(), dtype=dtype, again=again, meter=meter, log=log
    )
    for _ in parts:
        pass
