"""The names of encoders out of a diffusion network, read and written."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ilk.diffusion.reading import Point
from ilk.errors import InputError

FAMILY = "diffusion:"
FORM = "diffusion:PATH@block=6,sigma=0.4,pool=2+draws=4,seed=1"


@dataclass(frozen=True)
class Asked:
    """A name of this family, taken apart.

    Attributes:
        path: The folder.
        points: Where to read; empty stands for the best place known.
        draws: Noises that features are averaged over.
        seed: Of the noise.
    """

    path: str
    points: tuple[Point, ...] = ()
    draws: int = 1
    seed: int = 0

    @classmethod
    def read(cls, name: str) -> Asked:
        """What `diffusion:PATH@SETTINGS` asks for; `str` of it gives the name back.

        Raises:
            InputError: It is no such name.
        """
        rest = name.removeprefix(FAMILY)
        path, mark, settings = rest.rpartition("@")
        if not mark or not re.match(r"(block|draws|seed)\b", settings):
            path, settings = rest, ""
        if not path or rest == name:
            raise InputError(f"encoder {name!r} is not complete; write diffusion:PATH")
        points, numbers = [], {"draws": 1, "seed": 0}
        for part in filter(None, settings.split("+")):
            if part.startswith("block="):
                points.append(Point.read(part))
                continue
            for each in part.split(","):
                found = re.fullmatch(r"(draws|seed)=(\d{1,9})", each)
                if not found:
                    raise InputError(f"{each!r} in {name!r} is not understood; write {FORM}")
                numbers[found[1]] = int(found[2])
        return cls(path, tuple(points), **numbers)

    def __str__(self) -> str:
        numbers = {"draws": (self.draws, 1), "seed": (self.seed, 0)}
        other = ",".join(f"{k}={is_}" for k, (is_, plain) in numbers.items() if is_ != plain)
        parts = [*map(str, self.points), *([other] if other else [])]
        return f"{FAMILY}{self.path}" + ("@" + "+".join(parts) if parts else "")
