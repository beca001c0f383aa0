"""The engine of this machine: one thread per core, as the store is filled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ilk.core.capabilities import Embeds
from ilk.shards.encode import Meter, encode_shards
from ilk.shards.parts import Part


def run(
    folder: Path,
    shard_numbers: Sequence[int],
    open_encoder: Callable[[], Embeds],
    meter: Meter,
    *,
    dtype: str = "float32",
    again: bool = False,
    address: str = "",
) -> Iterator[Part]:
    """Yield the part of every shard when it is done; see `ilk.shards.engines.Engine`."""
    return encode_shards(
        folder, shard_numbers, open_encoder(), dtype=dtype, again=again, meter=meter
    )
