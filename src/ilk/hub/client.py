"""Locate checkpoint files: in a folder, in the hub client's cache, or on the hub."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ilk.core.errors import InputError, Unavailable


@dataclass(frozen=True)
class RequiredFiles:
    """Files of a checkpoint.

    Attributes:
        groups: For each group, one alternative must be complete; the first one is downloaded.
        optional: Downloaded if they exist.
    """

    groups: tuple[tuple[tuple[str, ...], ...], ...]
    optional: tuple[str, ...] = ()

    def find_missing(self, present: Collection[str]) -> list[str]:
        """List missing files, each in its first form."""
        open_groups = [g for g in self.groups if not any(set(files) <= set(present) for files in g)]
        return [name for group in open_groups for name in group[0] if name not in present]

    @property
    def preferred(self) -> list[str]:
        """All files in their first form."""
        return self.find_missing(())

    @property
    def all_names(self) -> list[str]:
        """All files in all forms."""
        return [name for group in self.groups for files in group for name in files] + [
            *self.optional
        ]


@dataclass(frozen=True)
class DownloadPolicy:
    """What may be requested from the hub.

    Attributes:
        is_allowed: Whether anything may be requested.
        sends_token: Whether requests may carry the user's token, which opens private repositories.
        log: Called with what is about to be downloaded.
    """

    is_allowed: bool = True
    sends_token: bool = True
    log: Callable[[str], None] = lambda _line: None

    @property
    def token(self) -> bool | None:
        """The argument of the hub's client: its own choice, or never."""
        return None if self.sends_token else False


_policy: ContextVar[DownloadPolicy] = ContextVar("download policy", default=DownloadPolicy())  # noqa: B039


@contextmanager
def apply_policy(policy: DownloadPolicy) -> Iterator[None]:
    """Let `policy` decide on downloads of this thread."""
    token = _policy.set(policy)
    try:
        yield
    finally:
        _policy.reset(token)


def require_package(package: str, extra: str) -> None:
    """Raise an error if `package` is not installed.

    Raises:
        Unavailable: It is not; the message has the command that installs it.
    """
    if find_spec(package) is None:
        raise Unavailable(f"{package} is not installed; run: pip install 'ilk[{extra}]'")


def is_offline() -> bool:
    """Whether the hub must not be contacted (`HF_HUB_OFFLINE`, or no client installed)."""
    if find_spec("huggingface_hub") is None:
        return True
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def open_local(path: str, required: RequiredFiles) -> Path:
    """Return the folder `path` after checking its files.

    Raises:
        Unavailable: The folder or a file does not exist; the message names it.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise Unavailable(f"there is no folder {path!r} to read a network from")
    present = [name for name in required.all_names if (folder / name).is_file()]
    if missing := required.find_missing(present):
        raise Unavailable(f"{path} lacks {' and '.join(missing)}; put them there")
    return folder


def find_cached(repo: str, required: RequiredFiles) -> Path | None:
    """Return the cache folder that holds `repo` completely, or None; uses no network.

    Args:
        repo: `ORG/NAME`, or `ORG/NAME@REVISION`.

    Raises:
        InputError: It is not a valid repository name.
    """
    name, revision = _split_revision(repo)
    if find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    paths: dict[str, Path] = {}
    try:
        for file in required.all_names:
            path = try_to_load_from_cache(name, file, revision=revision)
            if isinstance(path, str):
                paths[file] = Path(path)
    except HFValidationError as error:
        raise InputError(f"{repo!r} is not a valid name of a hub repository: {error}") from error
    return None if required.find_missing(paths) else paths[required.preferred[0]].parent


def fetch(repo: str, required: RequiredFiles) -> Path:
    """Return the folder of `repo`: from the cache, else downloaded from the hub.

    Raises:
        Unavailable: It is not cached and cannot be downloaded; the message has files and command.
    """
    if (folder := find_cached(repo, required)) is not None:
        return folder
    policy = _policy.get()
    if not policy.is_allowed:
        raise Unavailable(_format_forbidden(repo, required))
    require_package("huggingface_hub", "timm")
    if is_offline():
        raise Unavailable(_format_unavailable(repo, required, "HF_HUB_OFFLINE is set"))
    try:
        if not is_reachable(repo, 10.0):  # the client itself would try for half a minute
            raise TimeoutError("the hub gave no answer")
        policy.log(f"fetching {_list_files(repo, required)} from {_get_url(repo)}")
        _download(repo, required)
    except Exception as error:  # any error of the client, its transport or a proxy
        reason = str(error).strip().splitlines()
        raise Unavailable(
            _format_unavailable(repo, required, reason[0] if reason else type(error).__name__)
        ) from error
    if (folder := find_cached(repo, required)) is None:
        raise Unavailable(
            _format_unavailable(repo, required, "the hub's repository does not hold them all")
        )
    return folder


_hub_answered = threading.Event()  # set at the first answer of the hub


def is_reachable(repo: str, timeout: float) -> bool:
    """Whether the hub answers one request about `repo` within `timeout` seconds.

    Runs in its own thread, since resolving a host name ignores time limits.
    """

    token = _policy.get().token  # a thread has policies of its own

    def query() -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        name, revision = _split_revision(repo)
        try:
            HfApi(token=token).model_info(name, revision=revision, timeout=timeout)
        except HfHubHTTPError:
            # "no such repository" is an answer too; the download reports it
            _hub_answered.set()
        except Exception:  # any transport error means that there was no answer
            return
        _hub_answered.set()

    if not _hub_answered.is_set():
        thread = threading.Thread(target=query, daemon=True)
        thread.start()
        thread.join(timeout)
    return _hub_answered.is_set()


def _download(repo: str, required: RequiredFiles) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    name, revision = _split_revision(repo)
    for group in required.groups:
        _download_first(name, revision, group)
    for file in required.optional:
        with suppress(EntryNotFoundError):
            hf_hub_download(name, file, revision=revision, token=_policy.get().token)


def _download_first(name: str, revision: str | None, group: tuple[tuple[str, ...], ...]) -> None:
    """Download the first alternative that the repository holds."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    for files in group:
        with suppress(EntryNotFoundError):
            for file in files:
                hf_hub_download(name, file, revision=revision, token=_policy.get().token)
            return


def format_download_command(repo: str, required: RequiredFiles) -> str:
    """Return the shell command that downloads the files of `repo` into the cache."""
    name, revision = _split_revision(repo)
    return f"hf download {name} {' '.join(required.preferred)}" + (
        f" --revision {revision}" if revision else ""
    )


def _split_revision(repo: str) -> tuple[str, str | None]:
    name, _, revision = repo.partition("@")
    return name, revision or None


def _list_files(repo: str, required: RequiredFiles) -> str:
    name, revision = _split_revision(repo)
    suffix = f" in revision {revision}" if revision else ""
    return f"{', '.join(required.preferred)} of {name}{suffix}"


def _get_url(repo: str) -> str:
    """Return the address of a repository."""
    endpoint = "https://huggingface.co"
    if find_spec("huggingface_hub") is not None:
        from huggingface_hub import constants

        endpoint = str(constants.ENDPOINT)
    return f"{endpoint}/{_split_revision(repo)[0]}"


def _format_forbidden(repo: str, required: RequiredFiles) -> str:
    return (
        f"{_list_files(repo, required)} are not on this machine; no file is downloaded for a "
        "model folder unless you allow it: pass --fetch (in Python fetch=True) to get them from "
        f"{_get_url(repo)}, if you "
        f"trust that source, or run: {format_download_command(repo, required)}"
    )


def _format_unavailable(repo: str, required: RequiredFiles, reason: str) -> str:
    return (
        f"{_list_files(repo, required)} are not on this machine and cannot be fetched ({reason}); "
        f"where there is a network, run: {format_download_command(repo, required)}"
    )
