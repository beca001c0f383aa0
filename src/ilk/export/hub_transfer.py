"""Upload a model folder to a hub, and download one, with the hub's own client."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ilk.artifacts import model_folder
from ilk.artifacts.encoder_files import list_files, read_files
from ilk.artifacts.model_folder import (
    CLASSIFIER,
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    WEIGHTS_PATTERN,
    FolderKind,
)
from ilk.core.errors import ArtifactError, IlkError, InputError, OutputError, Unavailable
from ilk.export.card import KINDS, find_kind, write_card
from ilk.hub.client import is_offline, require_package

README = "README.md"
REPORT_FILES = ("report.html", "leaderboard.json", "intake.json", "suspects.csv")
HARMLESS = {".gitattributes", README}
OWN_KEYS = ("format", "version", "weights", "digest")  # which `model_folder.write` adds


@dataclass(frozen=True)
class HubModel:
    """A model on a hub.

    Attributes:
        repo: `ORG/NAME`.
        revision: Commit, 40 hexadecimal digits.
    """

    repo: str
    revision: str


def push(
    folder: Path,
    repo: str,
    *,
    is_public: bool = False,
    with_report: bool = False,
    license_name: str = "",
    further_files: Sequence[Path] = (),
) -> HubModel:
    """Upload a model folder with its card, and return where it is.

    The report, the list of images and the suspects stay here unless they are asked for: they show
    images and paths of this machine. So does the folder of the encoder's files.

    Args:
        folder: The model folder.
        repo: `ORG/NAME` on the hub; created if missing.
        is_public: Whether a repository that is created can be read by everyone.
        with_report: Also upload the report, the list of images and the suspects.
        license_name: Licence, for the card; "" is not stated.
        further_files: Further files, such as an exported one.

    Raises:
        ArtifactError: There is no model in the folder.
        InputError: The name is not valid, or the repository holds something else.
        Unavailable: The client, the network or a token that may write is missing.
    """
    _check_client()
    kind = find_kind(folder)
    card = write_card(folder, license_name=license_name)
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise Unavailable(
            "there is no token for the hub on this machine; run: hf auth login, or set HF_TOKEN"
        )
    api = HfApi()
    with tempfile.TemporaryDirectory() as staging, explain_hub_errors(repo):
        _stage(folder, kind, Path(staging), card, with_report, further_files)
        api.create_repo(repo, private=not is_public, exist_ok=True)
        present = set(api.list_repo_files(repo))
        if DESCRIPTION_FILE not in present and present - HARMLESS:
            raise InputError(
                f"{repo} contains other files, such as {min(present - HARMLESS)}, and no model of "
                "ilk; name a repository for the model alone"
            )
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=staging,
            commit_message="Model of ilk",
            ignore_patterns=[".*"],  # of the lock
            delete_patterns=["model*.safetensors"],
        )
        return HubModel(repo, str(commit.oid))


def _stage(
    folder: Path,
    kind: FolderKind,
    staging: Path,
    card: str,
    with_report: bool,
    further_files: Sequence[Path],
) -> None:
    """Copy what is uploaded to an empty folder."""
    weights, entries = model_folder.read(folder, kind)
    metadata = {key: value for key, value in entries.items() if key not in OWN_KEYS}
    metadata["encoder"] = _forget_folder(metadata["encoder"])
    names = REPORT_FILES if with_report else ()
    side_files = {n: (folder / n).read_bytes() for n in names if (folder / n).is_file()}
    for path in further_files:
        if path.suffix.casefold() != ".onnx" or path.name.startswith("."):
            raise InputError(f"{path} is not named as an exported file, such as model.onnx")
        if path.name in side_files:
            raise InputError(f"two files are named {path.name}; rename one")
        try:
            side_files[path.name] = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    side_files |= read_files(entries["encoder"], folder)
    side_files[README] = card.encode()
    model_folder.write(staging, weights, metadata, kind, side_files)


def _forget_folder(encoder: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of an encoder without where its files lie on this machine.

    An encoder that is called by that folder keeps it, since it has no other name.
    """
    if "parts" in encoder:
        return {**encoder, "parts": [_forget_folder(part) for part in encoder["parts"]]}
    is_named_by_folder = ":" in str(encoder["name"])
    return {k: v for k, v in encoder.items() if k != "folder" or is_named_by_folder}


def pull(repo: str, out: Path) -> HubModel:
    """Download a model to a folder, and return which one it is.

    Its digests are checked before anything is written, and `model.json` then records where it
    comes from. Nothing is unpickled or run.

    Args:
        repo: `ORG/NAME`, or `ORG/NAME@REVISION` with a branch, tag or commit.
        out: Folder to write: empty, or with an earlier download of the same repository.

    Raises:
        InputError: The name is not valid.
        Unavailable: The client, the network, the repository or the access is missing.
        ArtifactError: It holds no model of ilk, or one that was altered.
        OutputError: The folder cannot be written, or holds another model.
    """
    _check_client()
    from huggingface_hub import HfApi

    name, _, revision = repo.partition("@")
    _check_target(out, name)
    with explain_hub_errors(repo):
        api = HfApi()
        commit = str(api.model_info(name, revision=revision or None).sha)
        files = set(api.list_repo_files(name, revision=commit))
        if DESCRIPTION_FILE not in files:
            raise ArtifactError(f"{repo} holds no {DESCRIPTION_FILE}, so it is not a model of ilk")

        def download(file: str) -> Path:
            return Path(api.hf_hub_download(name, file, revision=commit))

        snapshot = download(DESCRIPTION_FILE).parent
        download(_read_weights_name(snapshot / DESCRIPTION_FILE, repo))
        extra = {README: download(README).read_bytes()} if README in files else {}
    kind = next((k for k in KINDS if k.format == model_folder.read_format(snapshot)), CLASSIFIER)
    weights, entries = model_folder.read(snapshot, kind)
    with model_folder.report_damage(snapshot):
        inner_files = list_files(entries["encoder"])
    with explain_hub_errors(repo):
        for file in inner_files:
            download(file)
    extra |= read_files(entries["encoder"], snapshot)
    metadata = {key: value for key, value in entries.items() if key not in OWN_KEYS}
    metadata["hub"] = {
        "repo": name,
        "revision": commit,
        "digest": entries["digest"],
        "weights": hashlib.sha256(weights).hexdigest(),
    }
    out.mkdir(parents=True, exist_ok=True)
    model_folder.write(out, weights, metadata, kind, extra)
    return HubModel(name, commit)


def _check_target(out: Path, name: str) -> None:
    """Raise OutputError if a folder holds what did not come from a repository."""
    from ilk.artifacts.overwrite_guard import holds_only_leftovers

    try:
        description = json.loads((out / DESCRIPTION_FILE).read_bytes())
        is_same = description["hub"]["repo"] == name
        sha = description["weights"]["sha256"]
        is_changed = is_same and sha != description["hub"].get("weights", sha)
    except (FileNotFoundError, NotADirectoryError):
        if out.exists() and not holds_only_leftovers(out):
            raise OutputError(
                f"{out} is not empty and holds no model; name another --out"
            ) from None
        return
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        is_same = is_changed = False
    if not is_same:
        raise OutputError(f"{out} holds another model, which would be lost; name another --out")
    if is_changed:
        raise OutputError(
            f"the model in {out} was corrected or extended since it was downloaded, which would be "
            "lost; name another --out"
        )


def _read_weights_name(path: Path, repo: str) -> str:
    """Return the name of the weights in a description, which was not checked yet."""
    try:
        name = json.loads(path.read_bytes())["weights"]["file"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        name = ""
    if not isinstance(name, str) or not WEIGHTS_PATTERN.fullmatch(name):
        raise ArtifactError(f"{DESCRIPTION_FILE} of {repo} names no {WEIGHTS_FILE}")
    return name


def _check_client() -> None:
    """Raise Unavailable if the hub must not be asked."""
    require_package("huggingface_hub", "export")
    if is_offline():
        raise Unavailable("HF_HUB_OFFLINE is set, so the hub must not be contacted; unset it")


@contextmanager
def explain_hub_errors(repo: str) -> Iterator[None]:
    """Turn the errors of the client into one sentence.

    Raises:
        InputError: The name of the repository is not valid.
        Unavailable: It does not exist, the access is missing, or the hub gives no answer.
    """
    from huggingface_hub import errors

    try:
        yield
    except (IlkError, OutputError):
        raise
    except errors.HFValidationError as error:
        raise InputError(
            f"{repo!r} is not a valid name of a hub repository ({_shorten(error)}); write ORG/NAME"
        ) from error
    except errors.GatedRepoError as error:
        raise Unavailable(
            f"{repo} asks for its conditions to be accepted; accept them on its page, and log in "
            "with: hf auth login"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise Unavailable(f"{repo} names a revision that the hub does not have") from error
    except errors.RepositoryNotFoundError as error:
        raise Unavailable(
            f"the hub has no repository {repo.partition('@')[0]}, or it is private and the token "
            "of this machine may not read it; check the name, or run: hf auth login"
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise Unavailable(
                f"the token of this machine may not do this with {repo} ({status}); run: hf auth "
                "login with a token that may write"
            ) from error
        raise Unavailable(f"the hub refuses this for {repo} ({_shorten(error)})") from error
    except Exception as error:  # any error of the transport or a proxy
        raise Unavailable(
            f"the hub cannot be reached for {repo} ({_shorten(error)}); try again where there is a "
            "network"
        ) from error


def _shorten(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:160]
