"""Bounds that the class variable `bounds` of a savable part states for its numbers and arrays."""

from __future__ import annotations

import math
import sys

Bounds = tuple[float, float]  # least and greatest value, both allowed

POSITIVE: Bounds = (sys.float_info.min, math.inf)
NON_NEGATIVE: Bounds = (0.0, math.inf)
FRACTION: Bounds = (0.0, 1.0)
