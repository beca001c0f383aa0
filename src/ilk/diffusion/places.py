"""Where the networks of one pretraining lie."""

from __future__ import annotations

from pathlib import Path

from ilk.diffusion import saved

HUB = "hf-hub:"


def home_of(path: str) -> Path:
    """The folder that `PATH`, or `hf-hub:ORG/NAME` of the hub, stands for.

    Raises:
        Unavailable: A repository's files are neither in the hub client's cache nor to be had.
        InputError: It holds a checkpoint of a family that cannot be read.
    """
    if not path.startswith(HUB):
        return Path(path).expanduser()
    from ilk.diffusion.hub import fetched

    return fetched(path.removeprefix(HUB))


def folder(home: Path, part: int) -> Path:
    """Where the network lies that left `part` out; -1 is the network of all."""
    return home if part < 0 else home / f"without-{part}"


def files(home: Path, folds: int) -> list[Path]:
    """The files of the networks that left a part out."""
    names = (saved.JSON, saved.ARRAYS)
    return [folder(home, part) / name for part in range(folds) for name in names]


def foreign(home: Path) -> bool:
    """Whether diffusers, and not ilk, wrote what is there."""
    held = any((home / name).exists() for name in ("model_index.json", "config.json"))
    return held and not (home / saved.JSON).exists()
