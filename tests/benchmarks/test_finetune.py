"""The benchmark of tuned networks, small."""

from __future__ import annotations

import pytest

from benchmarks.finetune.run import run
from benchmarks.runner import shared_path
from ilk.core.errors import Unavailable


def test_every_table_has_the_frozen_network_and_what_is_kept():
    try:
        shared_path("data", "pacs_subset")
    except Unavailable as error:
        pytest.skip(str(error))
    result = run(small=True)
    assert [table["setting"] for table in result["tables"]] == [
        "PACS, pooled",
        "PACS, without art_painting",
        "PACS, leave one domain out, mean of 4",
    ]
    for table in result["tables"]:
        names = [row["method"] for row in table["scores"]]
        assert names == ["frozen", "tuned", "chosen", "kept"]
        assert set(table["differences from frozen"]) == {"tuned", "chosen", "kept"}
    for record in result["runs"]:
        accuracy = record["accuracy"]
        assert accuracy["kept"] == accuracy["tuned" if record["kept"] else "frozen"]
        assert 0.3 < accuracy["frozen"] <= 1
        assert record["tuning seconds"] > 0
