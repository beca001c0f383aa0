"""Paths of the networks of one pretraining run."""

from __future__ import annotations

from pathlib import Path

from ilk.core.errors import ArtifactError
from ilk.diffusion.checkpoint import checkpoint
from ilk.diffusion.denoiser.companions import read_entry

TUNING_REPORT = "tuning.json"  # written last
TUNED = "tuned"  # folder beside a network: the same network, tuned to tell classes apart
BASE_KEY = "base"  # in the metadata of a tuned network: the digest of the arrays it began with


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


def get_tuned_folder(home: Path) -> Path:
    """Return the folder of the tuned network of the model in `home`."""
    return home / TUNED


def find_classifier_home(home: Path) -> Path:
    """Return the folder of the network that classifies: the tuned one, where tuning has finished.

    Raises:
        ArtifactError: The tuned network began with another network than the one in `home`.
    """
    tuned = get_tuned_folder(home)
    if not (tuned / checkpoint.JSON).exists():
        return home
    metadata = checkpoint.read_spec(tuned).metadata
    if metadata.get(BASE_KEY) != read_entry(home, "arrays"):
        raise ArtifactError(
            f"{tuned} was tuned from a different network than the one in {home}; tune again with "
            "`ilk tune --objective`, or remove that folder"
        )
    return tuned if (tuned / TUNING_REPORT).exists() else home
