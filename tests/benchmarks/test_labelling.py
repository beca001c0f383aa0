"""The benchmark of labelling runs small, and its sessions are honest."""

import json

from benchmarks.labelling import run as labelling


def test_small_run():
    result = json.loads(json.dumps(labelling.run(small=True)))
    assert [table["setting"] for table in result["tables"]] == [
        "digits, 5 labels",
        "digits, 20 labels",
    ]
    score = {row["method"]: row["score"]["mean"] for row in result["tables"][1]["scores"]}
    assert score["UncertaintyHerding, the default"] > score["random"]
    (one,) = result["honesty"]
    assert one["audit"]["covered"] >= 3
    assert one["sessions"] == 4
    assert one["suggestions on chosen images"]["difference"]["mean"] < 0  # biased
    assert one["model on its own labels"]["difference"]["mean"] > 0
