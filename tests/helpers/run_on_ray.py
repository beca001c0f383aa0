"""Encode a shard folder on Ray in a process of its own, and say as JSON how it went."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

from helpers.deadly_encoder import open_deadly
from ilk.core.errors import IlkError
from ilk.shards.engines import EngineOptions
from ilk.shards.manifest import Manifest
from ilk.shards.ray_engine import run


def main(folder: Path) -> None:
    lines: list[str] = []
    counts: list[int] = []
    error = ""
    try:
        run(
            folder,
            range(Manifest.read(folder).n_shards),
            partial(open_deadly, folder),
            meter=lambda n, _seconds: counts.append(n),
            log=lines.append,
            options=EngineOptions(actors=2),
        )
    except IlkError as caught:
        error = f"{type(caught).__name__}: {caught}"
    print(json.dumps({"lines": lines, "images": sum(counts), "error": error}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
