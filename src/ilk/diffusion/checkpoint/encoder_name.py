"""Parse and format the names of diffusion encoders."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ilk.core.errors import InputError
from ilk.diffusion.features.feature_point import FeaturePoint

FAMILY = "diffusion:"
SYNTAX = "diffusion:PATH@block=6,sigma=0.4,pool=2+draws=4,seed=1"


@dataclass(frozen=True)
class EncoderName:
    """A parsed encoder name.

    Attributes:
        path: Folder of the network.
        points: Feature points; empty for the best known one.
        draws: Number of noise draws that features are averaged over.
        seed: Seed of the noise.
    """

    path: str
    points: tuple[FeaturePoint, ...] = ()
    draws: int = 1
    seed: int = 0

    @classmethod
    def parse(cls, name: str) -> EncoderName:
        """Parse `diffusion:PATH@SETTINGS`; `str` of the result returns the name.

        Raises:
            InputError: The name is malformed.
        """
        rest = name.removeprefix(FAMILY)
        path, separator, settings = rest.rpartition("@")
        if not separator or not re.match(r"(block|draws|seed)\b", settings):
            path, settings = rest, ""
        if not path or rest == name:
            raise InputError(f"encoder {name!r} is incomplete; write diffusion:PATH")
        points, options = [], {"draws": 1, "seed": 0}
        for part in filter(None, settings.split("+")):
            if part.startswith("block="):
                points.append(FeaturePoint.parse(part))
                continue
            for setting in part.split(","):
                match = re.fullmatch(r"(draws|seed)=(\d{1,9})", setting)
                if not match:
                    raise InputError(f"{setting!r} in {name!r} is not a setting; write {SYNTAX}")
                options[match[1]] = int(match[2])
        return cls(path, tuple(points), **options)

    def __str__(self) -> str:
        numbers = {"draws": (self.draws, 1), "seed": (self.seed, 0)}
        options = ",".join(
            f"{k}={value}" for k, (value, default) in numbers.items() if value != default
        )
        parts = [*map(str, self.points), *([options] if options else [])]
        return f"{FAMILY}{self.path}" + ("@" + "+".join(parts) if parts else "")
