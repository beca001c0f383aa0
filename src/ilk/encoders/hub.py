"""Checkpoint files: from a folder, from the hub client's cache, or, where there is one, the hub."""

from __future__ import annotations

import threading
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ilk.errors import InputError, Unavailable


@dataclass(frozen=True)
class Wanted:
    """Files of a checkpoint.

    Attributes:
        groups: Of each, one alternative must be there whole; the first is what is asked for.
        extra: Taken along where they exist.
    """

    groups: tuple[tuple[tuple[str, ...], ...], ...]
    extra: tuple[str, ...] = ()

    def lacking(self, has: Collection[str]) -> list[str]:
        """What is still to be had, in its first form."""
        open_groups = [g for g in self.groups if not any(set(files) <= set(has) for files in g)]
        return [name for group in open_groups for name in group[0] if name not in has]

    @property
    def first(self) -> list[str]:
        """The files in their first form."""
        return self.lacking(())

    @property
    def every(self) -> list[str]:
        """The files in all forms."""
        return [name for group in self.groups for files in group for name in files] + [*self.extra]


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
    return None if wanted.lacking(found) else found[wanted.first[0]].parent


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
        if not heard(repo, 10.0):  # the client itself would try for half a minute
            raise TimeoutError("the hub gave no answer")
        _download(repo, wanted)
    except Exception as error:  # whatever the client, its transport or the proxy says
        why = str(error).strip().splitlines()
        raise Unavailable(_how(repo, wanted, why[0] if why else type(error).__name__)) from error
    if (folder := cached(repo, wanted)) is None:
        raise Unavailable(_how(repo, wanted, "the hub's repository does not hold them all"))
    return folder


_hub = threading.Event()  # set once the hub has answered; it is not asked a second time


def heard(repo: str, seconds: float) -> bool:
    """Whether the hub answers, asked about `repo`, within `seconds`. Asks once.

    In a thread of its own, since looking up a host's name heeds no time limit.
    """

    def ask() -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        name, revision = _split(repo)
        try:
            HfApi().model_info(name, revision=revision, timeout=seconds)
        except HfHubHTTPError:
            _hub.set()  # "no such repository" is an answer too; the download will say it better
        except Exception:  # whatever the transport raises, there was no answer
            return
        _hub.set()

    if not _hub.is_set():
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(seconds)
    return _hub.is_set()


def _download(repo: str, wanted: Wanted) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    name, revision = _split(repo)
    for group in wanted.groups:
        _first_of(name, revision, group)
    for file in wanted.extra:
        with suppress(EntryNotFoundError):
            hf_hub_download(name, file, revision=revision)


def _first_of(name: str, revision: str | None, group: tuple[tuple[str, ...], ...]) -> None:
    """Fetch the first alternative that the repository holds."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    for files in group:
        with suppress(EntryNotFoundError):
            for file in files:
                hf_hub_download(name, file, revision=revision)
            return


def command(repo: str, wanted: Wanted) -> str:
    """What to type to have the files of `repo` in the cache."""
    name, revision = _split(repo)
    return f"hf download {name} {' '.join(wanted.first)}" + (
        f" --revision {revision}" if revision else ""
    )


def _split(repo: str) -> tuple[str, str | None]:
    name, _, revision = repo.partition("@")
    return name, revision or None


def _how(repo: str, wanted: Wanted, why: str) -> str:
    name, revision = _split(repo)
    files = ", ".join(wanted.first)
    at = f" in revision {revision}" if revision else ""
    return (
        f"{files} of {name}{at} are not on this machine and cannot be fetched ({why}); "
        f"where there is a network, run: {command(repo, wanted)}"
    )
