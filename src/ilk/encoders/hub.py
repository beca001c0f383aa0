"""Checkpoint files: from a folder, from the hub client's cache, or, where there is one, the hub."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ilk.errors import InputError, Unavailable


@dataclass(frozen=True)
class Wanted:
    """Files of a checkpoint: all of `needed`, one whole set of `either`, and `extra` if there."""

    needed: tuple[str, ...]
    either: tuple[tuple[str, ...], ...] = ()
    extra: tuple[str, ...] = ()

    def lacking(self, has: Sequence[str]) -> list[str]:
        """What is still to be had; of `either`, the first set."""
        missing = [name for name in self.needed if name not in has]
        if self.either and not any(set(one) <= set(has) for one in self.either):
            missing += self.either[0]
        return missing

    @property
    def every(self) -> list[str]:
        return [*self.needed, *(name for one in self.either for name in one), *self.extra]


def installed(package: str, extra: str) -> None:
    """Refuse in words if `package` is not installed.

    Raises:
        Unavailable: With the command that installs it.
    """
    if find_spec(package) is None:
        raise Unavailable(f"{package} is not installed; run: pip install 'ilk[{extra}]'")


def offline() -> bool:
    """Whether the hub may not be asked (`HF_HUB_OFFLINE`, or its client is not installed)."""
    if find_spec("huggingface_hub") is None:
        return True
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def local(path: str, wanted: Wanted) -> Path:
    """The folder `path`, once its files are there.

    Raises:
        Unavailable: There is no such folder, or a file is missing; names it.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise Unavailable(f"there is no folder {path!r} to read a network from")
    here = [name for name in wanted.every if (folder / name).is_file()]
    if missing := wanted.lacking(here):
        raise Unavailable(f"{path} lacks {' and '.join(missing)}; put them there")
    return folder


def cached(repo: str, wanted: Wanted) -> Path | None:
    """The folder of the hub client's cache that holds `repo` whole, without asking the network.

    Args:
        repo: `ORG/NAME`, or `ORG/NAME@REVISION`.

    Raises:
        InputError: No repository can be called so.
    """
    name, revision = _split(repo)
    if find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    found: dict[str, Path] = {}
    try:
        for file in wanted.every:
            path = try_to_load_from_cache(name, file, revision=revision)
            if isinstance(path, str):
                found[file] = Path(path)
    except HFValidationError as error:
        raise InputError(f"{repo!r} is no name of a hub repository: {error}") from error
    return None if wanted.lacking(list(found)) else found[wanted.needed[0]].parent


def fetch(repo: str, wanted: Wanted) -> Path:
    """The folder that holds `repo`: from the cache, else by asking the hub.

    Raises:
        Unavailable: It is not in the cache and cannot be had; names the files and the command.
    """
    if (folder := cached(repo, wanted)) is not None:
        return folder
    installed("huggingface_hub", "timm")
    if offline():
        raise Unavailable(_how(repo, wanted, "HF_HUB_OFFLINE is set"))
    try:
        _download(repo, wanted)
    except Exception as error:  # whatever the client, its transport or the proxy says
        why = str(error).strip().splitlines()
        raise Unavailable(_how(repo, wanted, why[0] if why else type(error).__name__)) from error
    if (folder := cached(repo, wanted)) is None:
        raise Unavailable(_how(repo, wanted, "the hub's repository does not hold them all"))
    return folder


def _download(repo: str, wanted: Wanted) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    name, revision = _split(repo)
    for file in wanted.needed:
        hf_hub_download(name, file, revision=revision)
    for one in wanted.either:
        with suppress(EntryNotFoundError):
            for file in one:
                hf_hub_download(name, file, revision=revision)
            break
    for file in wanted.extra:
        with suppress(EntryNotFoundError):
            hf_hub_download(name, file, revision=revision)


def _split(repo: str) -> tuple[str, str | None]:
    name, _, revision = repo.partition("@")
    return name, revision or None


def _how(repo: str, wanted: Wanted, why: str) -> str:
    name, revision = _split(repo)
    files = list(wanted.needed) + list(wanted.either[0] if wanted.either else ())
    command = f"hf download {name} {' '.join(files)}"
    command += f" --revision {revision}" if revision else ""
    return (
        f"{', '.join(files)} of {name} are not on this machine and cannot be fetched ({why}); "
        f"where there is a network, run: {command}"
    )
