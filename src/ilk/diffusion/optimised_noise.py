"""A learned noise in place of hundreds of random ones: one call of the network a class.

Wang and Chen, 2025, Noise Matters: Optimizing Matching Noise for Diffusion Classifiers,
arXiv 2508.11330. The noise n~ = n_t + u(x) has a part for the whole data set and one for the image;
`ilk.diffusion.tuning` learns it. It is kept beside the network it belongs to, as `noise.json` and
`noise.safetensors`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ilk.diffusion.calls import Measure
from ilk.diffusion.classify import errors
from ilk.diffusion.contract import Denoises
from ilk.diffusion.offset import Offset
from ilk.diffusion.verdict import Verdict
from ilk.errors import ArtefactError, InputError, OutputError
from ilk.progress import Progress, silent
from ilk.training import checkpoint

VERSION, JSON, ARRAYS = 1, "noise.json", "noise.safetensors"
TINY = 1e-24  # least variance of errors over classes: equal errors say nothing, and do not blow up
SAME = 0.02  # relative: an answer further off than bfloat16 rounds is another network's
ASKED = 8  # classes whose answers are kept


@dataclass(frozen=True, eq=False)
class OptimisedNoise:
    """What `ilk.diffusion.tuning.optimise` finds.

    Attributes:
        noise: `[c, h, w]`, in standard deviations.
        offset: The image's own part, or None.
        sigma: The one noise level it is for.
        distance: The distance it was optimised under, and judges by.
        classes: Names, as the network knows them.
        answer: What the network makes of the noise alone, told each of the first 8 classes,
            `[min(k, 8), c, h, w]`; by it the network is known again.
        told: What else a reader should know: images, settings, loss.
    """

    noise: Tensor
    offset: Offset | None
    sigma: float
    distance: str
    classes: tuple[str, ...]
    answer: Tensor
    told: dict[str, Any] = field(default_factory=dict)

    @torch.no_grad()
    def of(self, x: Tensor, measure: Measure = Measure()) -> Tensor:  # noqa: B008  (frozen)
        """The noise of each image, `[n, c, h, w]` as `x`."""
        shared = self.noise.expand(x.shape)
        if self.offset is None or not len(x):
            return shared
        offset = self.offset.to(measure.device)
        parts = [offset(part.to(measure.device)).cpu() for part in torch.split(x, measure.batch)]
        return shared + torch.cat(parts)

    def judge(
        self,
        network: Denoises,
        x: Tensor,
        measure: Measure = Measure(),  # noqa: B008  (frozen)
        progress: Progress = silent,
    ) -> Verdict:
        """Scores `[n, k]`: minus the standardised errors, the logits that were optimised.

        Args:
            network: The one that the noise was optimised for, called once a class and image.
            x: Images `[n, c, h, w]` in [-1, 1].
            measure: Calls at once, precision, device; the distance is the noise's own.
            progress: Told of the calls.

        Raises:
            InputError: The network or the images are of another shape, or know other classes.
        """
        self.fits(network)
        level, taken = torch.tensor([self.sigma]), replace(measure, distance=self.distance)
        if tuple(x.shape[1:]) == network.shape:  # `errors` says so where it is not
            own = self.of(x, measure)[:, None]
        else:
            own = self.noise[None]
        made = errors(network, x, level, own, taken, progress)[:, :, 0]
        return Verdict(-standard(made), torch.full((len(x),), made.shape[1]))

    def fits(self, network: Denoises) -> None:
        """Refuse a network that the noise was not made for.

        Raises:
            InputError: It is of another shape, or knows other classes.
        """
        if network.shape != tuple(self.noise.shape):
            told, takes = (" x ".join(map(str, s)) for s in (self.noise.shape, network.shape))
            raise InputError(f"a noise of {told} does not go with a network that takes {takes}")
        if network.classes != self.classes:
            raise InputError(
                f"the noise was optimised for the classes {', '.join(self.classes)} and the "
                f"network knows {', '.join(network.classes)}; optimise a noise for this network"
            )

    def save(self, folder: Path) -> None:
        """Write both files; the JSON last, so that a folder with one is whole.

        Raises:
            OutputError: They cannot be written.
        """
        arrays = {"noise": self.noise, "answer": self.answer}
        built = None
        if self.offset is not None:
            arrays |= {f"offset/{k}": v for k, v in self.offset.state_dict().items()}
            built = {"levels": self.offset.levels, "width": self.offset.width}
        plain = {"sigma": self.sigma, "distance": self.distance, "classes": self.classes}
        text = json.dumps(
            {"version": VERSION, **plain, "offset": built, "told": self.told},
            indent=1,
            ensure_ascii=False,
        )
        checkpoint.save(arrays, folder / ARRAYS, {"format": "ilk noise"})
        part = folder / (JSON + ".part")
        try:
            part.write_text(text + "\n", encoding="utf-8")
            os.replace(part, folder / JSON)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error}; name another") from error


def load(folder: Path, network: Denoises, device: str = "cpu") -> OptimisedNoise:
    """The noise in `folder`, for `network`, which is on `device`.

    Raises:
        ArtefactError: There is none, it is damaged or of a newer ilk, or another network's.
    """
    noise = read(folder)
    try:
        noise.fits(network)
    except InputError as error:
        raise ArtefactError(f"{folder / JSON} is of another network: {error}") from error
    made = answer(network, noise.noise, noise.sigma, device)
    if not bool((made - noise.answer).norm() <= SAME * noise.answer.norm()):
        raise ArtefactError(
            f"{folder / JSON} is of another network, or of this one before it was trained further; "
            "optimise a noise for the network as it is now"
        )
    return noise


def read(folder: Path) -> OptimisedNoise:
    """The noise in `folder`, whatever network it is of.

    Raises:
        ArtefactError: There is none, it is damaged or of a newer ilk.
    """
    try:
        told = json.loads((folder / JSON).read_text(encoding="utf-8"))
        version = told["version"]
    except FileNotFoundError:
        raise ArtefactError(f"{folder} holds no optimised noise: there is no {JSON}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{folder / JSON} cannot be read: {error}") from error
    if version != VERSION:
        raise ArtefactError(f"{folder / JSON} was made by another ilk (format {version}); update")
    arrays, _ = checkpoint.load(folder / ARRAYS)
    try:
        noise, known, offset = arrays.pop("noise"), arrays.pop("answer"), None
        if told["offset"] is not None:
            offset = Offset(len(noise), **told["offset"])
            offset.load_state_dict({k.removeprefix("offset/"): v for k, v in arrays.items()})
            offset.eval().requires_grad_(False)
        sigma, classes = float(told["sigma"]), tuple(told["classes"])
        return OptimisedNoise(
            noise, offset, sigma, str(told["distance"]), classes, known, told["told"]
        )
    except (KeyError, TypeError, ValueError, RuntimeError, InputError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise ArtefactError(f"{folder / ARRAYS} does not fit {JSON}: {first}") from error


@torch.no_grad()
def answer(network: Denoises, noise: Tensor, sigma: float, device: str = "cpu") -> Tensor:
    """What `network` makes of `sigma * noise` `[c, h, w]`, told each of its first 8 classes."""
    asked = torch.arange(min(len(network.classes), ASKED))
    noisy = (sigma * noise).expand(len(asked), *noise.shape).to(device)
    level = torch.full((len(asked),), sigma, device=device)
    return network.denoise(noisy, level, network.condition(asked).to(device)).float().cpu()


def standard(errors: Tensor) -> Tensor:
    """Errors `[n, k]` less their mean over classes, by their (population) standard deviation."""
    apart = errors - errors.mean(1, keepdim=True)
    return apart / apart.square().mean(1, keepdim=True).clamp_min(TINY).sqrt()
