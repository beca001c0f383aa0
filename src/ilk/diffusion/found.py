"""What a search for features found, and its file beside the model."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ilk.diffusion.reading import Point
from ilk.errors import ArtefactError, OutputError

FILE, VERSION = "features.json", 1


@dataclass(frozen=True)
class Place:
    """A point that was tried.

    Attributes:
        point: Block, noise level, pooling.
        width: Numbers a row.
        accuracy: Share of held-out images that are right.
        log_loss: Of held-out images, in nats.
        behind: Accuracy that it lacks to the best.
        error: Standard error of `behind` if both were as good, paired over images: the root of the
            number of images on which they differ, over the number of images.
    """

    point: Point
    width: int
    accuracy: float
    log_loss: float
    behind: float
    error: float


@dataclass(frozen=True)
class Found:
    """What the search found.

    Attributes:
        places: All that was tried.
        best: With the highest accuracy (then the lowest log loss).
        chosen: The narrowest that lies behind the best by no more than one standard error.
        images: How many it was tried on.
    """

    places: tuple[Place, ...]
    best: Point
    chosen: Point
    images: int

    def heat(self, pool: int | None = None) -> tuple[list[int], list[float], list[list[float]]]:
        """Blocks, noise levels, and accuracy `[blocks][levels]`: at `pool`, or at the best of each;
        not a number where there is none."""
        rows = sorted({place.point.block for place in self.places})
        columns = sorted({place.point.sigma for place in self.places})
        best = {(b, s): float("nan") for b in rows for s in columns}
        for place in self.places:
            if pool is not None and place.point.pool != pool:
                continue
            at = place.point.block, place.point.sigma
            best[at] = float(np.fmax(best[at], place.accuracy))
        return rows, columns, [[best[b, s] for s in columns] for b in rows]

    def top(self, count: int) -> list[Point]:
        """The `count` best points, each of another block, best first: for fusion."""
        order = sorted(self.places, key=lambda p: (-p.accuracy, p.log_loss))
        firsts = {place.point.block: place.point for place in reversed(order)}
        return [p.point for p in order if firsts[p.point.block] == p.point][:count]

    def to_json(self) -> str:
        """All of it as JSON, heat map included; `read` takes it back."""
        blocks, sigmas, accuracy = self.heat()
        heat = {"blocks": blocks, "sigmas": sigmas, "accuracy": accuracy}
        told = {"version": VERSION, **asdict(self), "heat": heat}
        return json.dumps(told, indent=1) + "\n"


def write(found: Found, folder: Path) -> Path:
    """Leave `found` beside the model in `folder`, where `--encoder diffusion:PATH` looks for it.

    Raises:
        OutputError: It cannot be written.
    """
    path, part = folder / FILE, folder / (FILE + ".part")
    try:
        part.write_text(found.to_json(), encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error}; name another folder") from error
    return path


def read(folder: Path) -> Found:
    """What `write` left in `folder`.

    Raises:
        ArtefactError: There is nothing, or something else.
    """
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if told["version"] != VERSION:
            raise ArtefactError(f"{folder / FILE} is of another ilk; search again")
        places = [Place(**{**p, "point": Point(**p["point"])}) for p in told["places"]]
        best, chosen = Point(**told["best"]), Point(**told["chosen"])
        return Found(tuple(places), best, chosen, int(told["images"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{folder / FILE} cannot be read: {error}; search again") from error


def known(folder: Path) -> Point | None:
    """The place chosen for the model in `folder`; None when nobody has searched.

    Raises:
        ArtefactError: What is there cannot be read.
    """
    return read(folder).chosen if (folder / FILE).exists() else None
