"""An optimised noise instead of hundreds of random ones: one network call per class.

Wang and Chen, 2025, Noise Matters: Optimizing Matching Noise for Diffusion Classifiers,
arXiv 2508.11330. The noise n~ = n_t + u(x) has a part shared by the data set and one per image;
`ilk.diffusion.noise_optimization.tuning` learns it. It is saved next to its network as `noise.json`
and `noise.safetensors`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from ilk.core.digested_json import check_digest, encode_digested, parse_json
from ilk.core.errors import ArtifactError, InputError
from ilk.core.folder_transaction import FolderTransaction, finish_commit, lock_folder
from ilk.core.progress import Progress, silent_progress
from ilk.core.regular_file import read_regular_file
from ilk.core.typed_values import check_type
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.class_errors import compute_class_errors
from ilk.diffusion.errors.denoising_errors import Measure
from ilk.diffusion.noise_optimization.offset import OffsetNetwork
from ilk.diffusion.result import ClassificationResult
from ilk.training import checkpoint

VERSION, JSON, ARRAYS = 3, "noise.json", "noise.safetensors"
MIN_VARIANCE = (
    1e-24  # least variance of errors over classes: equal errors say nothing, and do not blow up
)
REFERENCE_TOLERANCE = (
    0.02  # relative: an answer further off than bfloat16 rounds is another network's
)
REFERENCE_CLASSES = 8  # number of reference outputs


@dataclass(frozen=True, eq=False)
class OptimizedNoise:
    """The result of `ilk.diffusion.noise_optimization.tuning.optimize_noise`.

    Attributes:
        noise: `[c, h, w]`, in standard deviations.
        offset: The image-dependent part, or None.
        sigma: The noise level.
        distance: The distance of the errors.
        classes: Class names of the network.
        reference_outputs: Outputs of the network for the noise alone under each of the first 8
            classes, `[min(k, 8), c, h, w]`; they identify the network.
        metadata: Images, settings, loss.
    """

    noise: Tensor
    offset: OffsetNetwork | None
    sigma: float
    distance: str
    classes: tuple[str, ...]
    reference_outputs: Tensor
    metadata: dict[str, Any] = field(default_factory=dict)

    @torch.no_grad()
    def compute_noise(self, x: Tensor, measure: Measure = Measure()) -> Tensor:  # noqa: B008  (frozen)
        """Return the noise of each image of `x` `[n, c, h, w]`, `[n, c, h, w]`."""
        shared = self.noise.expand(x.shape)
        if self.offset is None or not len(x):
            return shared
        offset = self.offset.to(measure.device)
        parts = [
            offset(part.to(measure.device)).cpu() for part in torch.split(x, measure.batch_size)
        ]
        return shared + torch.cat(parts)

    def score_batch(
        self,
        network: Denoises,
        x: Tensor,
        measure: Measure = Measure(),  # noqa: B008  (frozen)
        progress: Progress = silent_progress,
    ) -> ClassificationResult:
        """Return scores `[n, k]`: minus the standardised errors, the logits of the loss.

        Args:
            network: The network that the noise was optimised for; called once per class and image.
            x: Images `[n, c, h, w]` in [-1, 1].
            measure: Batch size, precision, device; the distance is that of the noise.
            progress: Reports network calls.

        Raises:
            InputError: The network or the images have another shape, or the classes differ.
        """
        self.check_network(network)
        level, own_measure = torch.tensor([self.sigma]), replace(measure, distance=self.distance)
        if tuple(x.shape[1:]) == network.shape:  # `errors` says so where it is not
            noise = self.compute_noise(x, measure)[:, None]
        else:
            noise = self.noise[None]
        raw_errors = compute_class_errors(network, x, level, noise, own_measure, progress)[:, :, 0]
        return ClassificationResult(
            -standardize_errors(raw_errors), torch.full((len(x),), raw_errors.shape[1])
        )

    def check_network(self, network: Denoises) -> None:
        """Check that the noise fits a network.

        Raises:
            InputError: The network has another shape or other classes.
        """
        if network.shape != tuple(self.noise.shape):
            actual, expected = (" x ".join(map(str, s)) for s in (self.noise.shape, network.shape))
            raise InputError(
                f"a noise of {actual} does not go with a network that takes {expected}"
            )
        if network.classes != self.classes:
            raise InputError(
                f"the noise was optimised for the classes {', '.join(self.classes)} and the "
                f"network knows {', '.join(network.classes)}; optimise a noise for this network"
            )

    def save(self, folder: Path) -> None:
        """Write both files in one step.

        Raises:
            OutputError: They cannot be written.
        """
        arrays = {"noise": self.noise, "reference_outputs": self.reference_outputs}
        offset_config = None
        if self.offset is not None:
            arrays |= {f"offset/{k}": v for k, v in self.offset.state_dict().items()}
            offset_config = {"levels": self.offset.levels, "width": self.offset.width}
        fields = {"sigma": self.sigma, "distance": self.distance, "classes": self.classes}
        write, digest = checkpoint.prepare_arrays(arrays, {"format": "ilk noise"})
        fields |= {"offset": offset_config, "metadata": self.metadata, "arrays": digest}
        with lock_folder(folder):
            change = FolderTransaction(folder)
            change.write_with(ARRAYS, write)
            change.write(JSON, encode_digested({"version": VERSION, **fields}))
            change.commit()


def load(folder: Path, network: Denoises, device: str = "cpu") -> OptimizedNoise:
    """Load the noise in `folder` for `network`, which is on `device`.

    Raises:
        ArtifactError: There is none, it is damaged, of another format version, or of another
            network.
    """
    noise = read(folder)
    try:
        noise.check_network(network)
    except InputError as error:
        raise ArtifactError(f"{folder / JSON} is of another network: {error}") from error
    outputs = compute_reference_outputs(network, noise.noise, noise.sigma, device)
    if not bool(
        (outputs - noise.reference_outputs).norm()
        <= REFERENCE_TOLERANCE * noise.reference_outputs.norm()
    ):
        raise ArtifactError(
            f"{folder / JSON} is of another network, or of this one before it was trained further; "
            "optimise a noise for the network as it is now"
        )
    return noise


class _Entries(TypedDict):
    """Entries of the JSON file."""

    version: int
    sigma: float
    distance: str
    classes: list[str]
    offset: dict[str, int] | None
    metadata: dict[str, Any]
    arrays: str
    digest: str


def read(folder: Path) -> OptimizedNoise:
    """Read the noise in `folder` without checking the network.

    Raises:
        ArtifactError: There is none, it is damaged, or of another format version.
    """
    path = folder / JSON
    try:
        finish_commit(folder)
        fields = parse_json(read_regular_file(path), path)
    except FileNotFoundError:
        raise ArtifactError(f"{folder} holds no optimised noise: there is no {JSON}") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    if (version := fields.get("version")) != VERSION:
        raise ArtifactError(f"{path} has format {version}, not {VERSION}; optimise again")
    check_digest(fields, path)
    arrays, metadata = checkpoint.load(folder / ARRAYS)
    if metadata[checkpoint.DIGEST_KEY] != fields.get("arrays"):
        raise ArtifactError(f"{folder / ARRAYS} is not the file that {JSON} refers to")
    try:
        check_type(fields, _Entries, "")
        noise, reference_outputs, offset = (
            arrays.pop("noise"),
            arrays.pop("reference_outputs"),
            None,
        )
        if fields["offset"] is not None:
            offset = OffsetNetwork(len(noise), **fields["offset"])
            offset.load_state_dict({k.removeprefix("offset/"): v for k, v in arrays.items()})
            offset.eval().requires_grad_(False)
        sigma, classes = float(fields["sigma"]), tuple(fields["classes"])
        return OptimizedNoise(
            noise,
            offset,
            sigma,
            str(fields["distance"]),
            classes,
            reference_outputs,
            fields["metadata"],
        )
    except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError, InputError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise ArtifactError(f"{folder / ARRAYS} does not fit {JSON}: {first}") from error


@torch.no_grad()
def compute_reference_outputs(
    network: Denoises, noise: Tensor, sigma: float, device: str = "cpu"
) -> Tensor:
    """Return the outputs `[min(k, 8), c, h, w]` for `sigma * noise` `[c, h, w]` under the first
    classes.
    """
    classes = torch.arange(min(len(network.classes), REFERENCE_CLASSES))
    noisy = (sigma * noise).expand(len(classes), *noise.shape).to(device)
    level = torch.full((len(classes),), sigma, device=device)
    return network.denoise(noisy, level, network.condition(classes).to(device)).float().cpu()


def standardize_errors(errors: Tensor) -> Tensor:
    """Return errors `[n, k]` minus their mean over classes, divided by their standard deviation."""
    centered = errors - errors.mean(1, keepdim=True)
    return centered / centered.square().mean(1, keepdim=True).clamp_min(MIN_VARIANCE).sqrt()
