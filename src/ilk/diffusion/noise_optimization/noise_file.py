"""The files of single noises next to their network: `noise.json` and `noise.safetensors`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from torch import Tensor

from ilk.core.digested_json import check_digest, encode_digested, parse_json
from ilk.core.errors import ArtifactError, InputError
from ilk.core.folder_transaction import FolderTransaction, finish_commit, lock_folder
from ilk.core.regular_file import read_regular_file
from ilk.core.typed_values import check_type
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.noise_optimization.ensemble import NoiseEnsemble
from ilk.diffusion.noise_optimization.offset import OffsetNetwork
from ilk.diffusion.noise_optimization.optimized_noise import (
    OptimizedNoise,
    compute_reference_outputs,
)
from ilk.training import checkpoint

VERSION, JSON, ARRAYS = 4, "noise.json", "noise.safetensors"
SINGLE_VERSION = 3  # one noise, whose entries stand at the top
REFERENCE_TOLERANCE = (
    0.02  # relative: an answer further off than bfloat16 rounds is another network's
)


class _Member(TypedDict):
    """Entries of one noise."""

    sigma: float
    distance: str
    offset: dict[str, int] | None
    metadata: dict[str, Any]


class _Entries(TypedDict):
    """Entries of the JSON file."""

    version: int
    classes: list[str]
    members: list[_Member]
    metadata: dict[str, Any]
    arrays: str
    digest: str


def save(ensemble: NoiseEnsemble, folder: Path) -> None:
    """Write both files in one step.

    Raises:
        OutputError: They cannot be written.
    """
    arrays: dict[str, Tensor] = {}
    members: list[_Member] = []
    for i, noise in enumerate(ensemble.members):
        arrays[f"{i}/noise"] = noise.noise
        arrays[f"{i}/reference_outputs"] = noise.reference_outputs
        offset_config = None
        if noise.offset is not None:
            weights = noise.offset.state_dict().items()
            arrays |= {f"{i}/offset/{name}": value for name, value in weights}
            offset_config = {"levels": noise.offset.levels, "width": noise.offset.width}
        members.append(
            {
                "sigma": noise.sigma,
                "distance": noise.distance,
                "offset": offset_config,
                "metadata": noise.metadata,
            }
        )
    write, digest = checkpoint.prepare_arrays(arrays, {"format": "ilk noise"})
    fields = {
        "version": VERSION,
        "classes": ensemble.members[0].classes,
        "members": members,
        "metadata": ensemble.metadata,
        "arrays": digest,
    }
    with lock_folder(folder):
        change = FolderTransaction(folder)
        change.write_with(ARRAYS, write)
        change.write(JSON, encode_digested(fields))
        change.commit()


def load(folder: Path, network: Denoises, device: str = "cpu") -> NoiseEnsemble:
    """Load the noises in `folder` for `network`, which is on `device`.

    Raises:
        ArtifactError: There are none, they are damaged, of another format version, or of another
            network.
    """
    ensemble = read(folder)
    try:
        ensemble.check_network(network)
    except InputError as error:
        raise ArtifactError(f"{folder / JSON} is of another network: {error}") from error
    for noise in ensemble.members:
        outputs = compute_reference_outputs(network, noise.noise, noise.sigma, device)
        missed = (outputs - noise.reference_outputs).norm()
        if not bool(missed <= REFERENCE_TOLERANCE * noise.reference_outputs.norm()):
            raise ArtifactError(
                f"{folder / JSON} is of another network, or of this one before it was trained "
                "further; optimize a noise for the network as it is now"
            )
    return ensemble


def read(folder: Path) -> NoiseEnsemble:
    """Read the noises in `folder` without checking the network.

    Raises:
        ArtifactError: There are none, they are damaged, or of another format version.
    """
    path = folder / JSON
    try:
        finish_commit(folder)
        fields = parse_json(read_regular_file(path), path)
    except FileNotFoundError:
        raise ArtifactError(f"{folder} holds no optimized noise: there is no {JSON}") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    if (version := fields.get("version")) not in (VERSION, SINGLE_VERSION):
        raise ArtifactError(f"{path} has format {version}, not {VERSION}; optimize again")
    check_digest(fields, path)
    arrays, metadata = checkpoint.load(folder / ARRAYS)
    if metadata[checkpoint.DIGEST_KEY] != fields.get("arrays"):
        raise ArtifactError(f"{folder / ARRAYS} is not the file that {JSON} refers to")
    try:
        if version == SINGLE_VERSION:
            fields, arrays = _wrap_single(fields, arrays)
        check_type(fields, _Entries, "")
        classes = tuple(fields["classes"])
        members = [
            _read_member(entries, arrays, f"{i}/", classes)
            for i, entries in enumerate(fields["members"])
        ]
        return NoiseEnsemble(tuple(members), fields["metadata"])
    except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, InputError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise ArtifactError(f"{folder / ARRAYS} does not fit {JSON}: {first}") from error


def _wrap_single(
    fields: dict[str, Any], arrays: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Convert the entries and arrays of a file of one noise."""
    member = {name: fields[name] for name in ("sigma", "distance", "offset", "metadata")}
    rest = {name: fields[name] for name in ("version", "classes", "arrays", "digest")}
    wrapped = {f"0/{name}": value for name, value in arrays.items()}
    return {**rest, "members": [member], "metadata": {}}, wrapped


def _read_member(
    entries: _Member, arrays: dict[str, Tensor], prefix: str, classes: tuple[str, ...]
) -> OptimizedNoise:
    noise, offset = arrays[f"{prefix}noise"], None
    if entries["offset"] is not None:
        offset = OffsetNetwork(len(noise), **entries["offset"])
        names = f"{prefix}offset/"
        offset.load_state_dict(
            {k.removeprefix(names): v for k, v in arrays.items() if k.startswith(names)}
        )
        offset.eval().requires_grad_(False)
    return OptimizedNoise(
        noise,
        offset,
        float(entries["sigma"]),
        entries["distance"],
        classes,
        arrays[f"{prefix}reference_outputs"],
        entries["metadata"],
    )
