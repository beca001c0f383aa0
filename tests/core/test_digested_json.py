"""JSON with a digest: what cannot be measured does not lose what was."""

import math
from pathlib import Path

from ilk.core.digested_json import check_digest, encode_digested, parse_json


def test_numbers_that_are_not_finite_become_null():
    fields = {"loss": math.nan, "gain": {"low": -math.inf, "high": [math.inf, 1.5]}, "name": "NaN"}
    path = Path("x.json")
    found = parse_json(encode_digested(fields), path)
    check_digest(found, path)
    del found["digest"]
    assert found == {"loss": None, "gain": {"low": None, "high": [None, 1.5]}, "name": "NaN"}
