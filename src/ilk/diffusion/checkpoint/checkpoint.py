"""Save and load a denoiser: `diffusion.json` (configuration) and `diffusion.safetensors`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from torch import nn

from ilk.core.digested_json import check_digest, encode_digested, parse_json
from ilk.core.errors import ArtifactError, InputError, UnknownName
from ilk.core.folder_transaction import FolderTransaction, finish_commit, lock_folder
from ilk.core.regular_file import read_regular_file
from ilk.core.typed_values import check_type
from ilk.diffusion.checkpoint import training_images
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.networks.dit import DiT
from ilk.diffusion.networks.unet import UNet
from ilk.training import checkpoint

VERSION = 3
MAX_SIZE = 2**16  # of images, widths and counts of layers
NETWORKS = {"unet": UNet, "dit": DiT}
JSON, ARRAYS = "diffusion.json", "diffusion.safetensors"


class _Entries(TypedDict):
    """Entries of `diffusion.json`."""

    version: int
    shape: tuple[int, int, int]
    classes: list[str]
    sigma_data: float
    sigmas: tuple[float, float]
    network: Literal["unet", "dit"]
    options: dict[str, int | list[int]]
    metadata: dict[str, Any]
    arrays: str
    digest: str
    training_images: NotRequired[str]


@dataclass(frozen=True)
class DenoiserSpec:
    """Everything needed to build a denoiser, except its weights.

    Attributes:
        shape: `(channels, size, size)`.
        classes: Names; may be empty.
        sigma_data: Standard deviation of the data in [-1, 1].
        sigmas: Lowest and highest noise level.
        network: `unet` or `dit`.
        options: Arguments of the network other than channels, size and classes.
        metadata: Training configuration and data; not used to build.
    """

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    sigma_data: float
    sigmas: tuple[float, float]
    network: str = "unet"
    options: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def build(self) -> Denoiser:
        """Build the denoiser with random weights (from torch's global generator).

        Raises:
            UnknownName: The network is unknown.
            InputError: It has no such option, or does not support this size.
        """
        if self.network not in NETWORKS:
            raise UnknownName("network", self.network, NETWORKS)
        channels, height, width = self.shape
        if height != width:
            raise InputError(f"images of {height} x {width} are not square; crop or pad them first")
        try:
            network: nn.Module = NETWORKS[self.network](
                channels, height, len(self.classes), **self.options
            )
        except TypeError as error:
            raise InputError(f"network {self.network!r} cannot be built: {error}") from None
        return Denoiser(network, self.shape, self.classes, self.sigma_data, self.sigmas)


def save(
    denoiser: Denoiser,
    spec: DenoiserSpec,
    folder: Path,
    side_files: Mapping[str, bytes] | None = None,
) -> None:
    """Write all files in one step: a folder holds the old denoiser or the new one.

    Args:
        denoiser: The denoiser.
        spec: How it is built.
        folder: Folder to write to; created if missing.
        side_files: Contents of further files, by name.

    Raises:
        OutputError: They cannot be written.
    """
    write, digest = checkpoint.prepare_arrays(denoiser.state_dict(), {"format": "ilk diffusion"})
    fields = {"version": VERSION, **asdict(spec), "arrays": digest}
    if (recorded := training_images.read_digest(folder)) is not None:
        fields[training_images.ENTRY] = recorded
    with lock_folder(folder):
        change = FolderTransaction(folder)
        change.write_with(ARRAYS, write)
        for name, content in (side_files or {}).items():
            change.write(name, content)
        change.write(JSON, encode_digested(fields))
        change.commit()


def read_spec(folder: Path) -> DenoiserSpec:
    """Read how the denoiser in `folder` is built.

    Raises:
        ArtifactError: There is none, it has another format version, or its JSON is damaged.
    """
    return _read(folder)[0]


def _read(folder: Path) -> tuple[DenoiserSpec, str]:
    """Return how the denoiser is built, and the digest of its arrays."""
    path = folder / JSON
    try:
        finish_commit(folder)
        fields = parse_json(read_regular_file(path), path)
    except FileNotFoundError:
        raise ArtifactError(
            f"{folder} holds no diffusion model of ilk: there is no {JSON} in it; "
            "create one with `ilk pretrain`, or give the folder of a diffusers checkpoint"
        ) from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}") from error
    if (version := fields.pop("version", None)) != VERSION:
        raise ArtifactError(
            f"{folder} has format {version}, but this version of ilk reads format {VERSION}; "
            "pretrain again or use the other version"
        )
    check_digest({"version": version, **fields}, path)
    try:
        check_type({"version": version, **fields}, _Entries, "")
        _check_numbers(fields)
        digest = fields.pop("arrays")
        del fields["digest"]
        fields.pop(training_images.ENTRY, None)
        for name in ("shape", "classes", "sigmas"):
            fields[name] = tuple(fields[name])
        return DenoiserSpec(**fields), digest
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path} was not written by ilk: {error}") from None


def _check_numbers(fields: dict[str, Any]) -> None:
    """Raise ValueError if a size or a noise level cannot be one."""
    sizes = [*fields["shape"], *(v for v in fields["options"].values() if isinstance(v, int))]
    sizes += [
        v for values in fields["options"].values() if isinstance(values, list) for v in values
    ]
    low, high = fields["sigmas"]
    if min(sizes) < 1 or max(sizes) > MAX_SIZE or not (0 < low < high and fields["sigma_data"] > 0):
        raise ValueError("a size or a noise level is out of bounds")
    if len(set(fields["classes"])) < len(fields["classes"]):
        raise ValueError("two classes have the same name")


def load(folder: Path) -> Denoiser:
    """Load the denoiser in `folder`, in evaluation mode.

    Raises:
        ArtifactError: There is none, or its weights do not match its JSON.
    """
    spec, digest = _read(folder)
    arrays, metadata = checkpoint.load(folder / ARRAYS)
    if metadata[checkpoint.DIGEST_KEY] != digest:
        raise ArtifactError(f"{folder / ARRAYS} is not the file that {JSON} refers to")
    try:
        denoiser = spec.build()
        denoiser.load_state_dict(arrays)
    except (InputError, RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        first = str(error).splitlines()[0]
        raise ArtifactError(f"{folder / ARRAYS} does not fit {JSON}: {first}") from error
    return denoiser.eval()
