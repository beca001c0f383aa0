"""Students: networks with features and a linear head, which a model folder keeps apart.

A file of this folder that defines `STUDENTS`, a literal tuple of names, has two functions:

- `make_student(name, n_classes, channels, size, seed=0)` returns a network with a linear head `fc`
  on `forward_features(x) -> [n, f]`; `size` is the side of its images or their height and width.
- `build_features(name, channels, size)` returns the same network without its head.

A file may define `START`, the name of an encoder with pretrained weights of the same names, from
which its students start, and whose preprocessing they have.
"""

from __future__ import annotations

import copy

from torch import nn


def remove_head(student: nn.Module) -> nn.Module:
    """Return a copy of a student whose answers are its features: normalized images to `[n, f]`."""
    network = copy.deepcopy(student)
    network.fc = nn.Identity()
    return network
