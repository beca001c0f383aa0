"""Paths of the networks of one pretraining run."""

from __future__ import annotations

from pathlib import Path

from ilk.diffusion.checkpoint import checkpoint


def resolve_home(path: str) -> Path:
    """Return the folder of a path or of `hf-hub:ORG/NAME`, which is downloaded if necessary.

    Raises:
        Unavailable: Files of a repository are neither cached nor downloadable.
        InputError: The checkpoint is of an unsupported family.
    """
    from ilk.diffusion.diffusers.load import HUB_PREFIX, fetch_checkpoint

    if not path.startswith(HUB_PREFIX):
        return Path(path).expanduser()
    return fetch_checkpoint(path.removeprefix(HUB_PREFIX))


def get_fold_folder(home: Path, fold: int) -> Path:
    """Return the folder of the network trained without `fold`; -1 is the network trained on all."""
    return home if fold < 0 else home / f"without-{fold}"


def list_fold_files(home: Path, folds: int) -> list[Path]:
    """List the files of the networks trained without one fold each."""
    names = (checkpoint.JSON, checkpoint.ARRAYS)
    return [get_fold_folder(home, fold) / name for fold in range(folds) for name in names]


def is_diffusers_checkpoint(home: Path) -> bool:
    """Return whether the folder was written by diffusers rather than ilk."""
    has_config = any((home / name).exists() for name in ("model_index.json", "config.json"))
    return has_config and not (home / checkpoint.JSON).exists()
