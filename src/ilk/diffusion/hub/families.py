"""Which family a checkpoint is of, which files it is made of, and where they lie.

The layout is that of diffusers' `save_pretrained`: `model_index.json` names the pipeline and its
parts, each part has a folder. A U-Net may also lie in the main folder itself, as in the first
checkpoints of the hub. Weights in pickle are never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ilk.diffusion.hub.files import CONFIG, TOKENS, network, tokenizer, weights
from ilk.encoders import hub
from ilk.encoders.address import file_digest, key
from ilk.encoders.configs import read_json
from ilk.errors import InputError, Unavailable

INDEX, SCHEDULE = "model_index.json", "scheduler_config.json"
UNET, DIT, SD, SD3 = "unet", "dit", "stable-diffusion", "stable-diffusion-3"
PIPELINES = {
    "DDPMPipeline": UNET,
    "DDIMPipeline": UNET,
    "DiTPipeline": DIT,
    "StableDiffusionPipeline": SD,
    "StableDiffusionImg2ImgPipeline": SD,
    "StableDiffusion3Pipeline": SD3,
    "StableDiffusion3Img2ImgPipeline": SD3,
}
NETWORKS = {
    UNET: ("unet",),
    DIT: ("transformer", "vae"),
    SD: ("unet", "vae", "text_encoder"),
    SD3: ("transformer", "vae", "text_encoder", "text_encoder_2"),
}
READ = (
    "ilk reads pixel U-Nets (DDPMPipeline, DDIMPipeline, UNet2DModel), DiT (DiTPipeline) and "
    "Stable Diffusion 1, 2 and 3 (StableDiffusionPipeline, StableDiffusion3Pipeline)"
)


@dataclass(frozen=True)
class Layout:
    """A checkpoint on disk.

    Attributes:
        folder: Where it is.
        family: One of `NETWORKS`.
        index: What `model_index.json` says; empty for a lone U-Net.
    """

    folder: Path
    family: str
    index: dict[str, Any]

    @property
    def third(self) -> bool:
        """Whether it has a third text encoder."""
        told = self.index.get("text_encoder_3")
        return self.family == SD3 and bool(told and told[0])

    @property
    def networks(self) -> tuple[str, ...]:
        """The parts that have weights."""
        return NETWORKS[self.family] + (("text_encoder_3",) if self.third else ())

    @property
    def tokenizers(self) -> tuple[str, ...]:
        """The parts that cut text into tokens."""
        return tuple(p.replace("text_encoder", "tokenizer") for p in self.networks if "text" in p)

    def part(self, name: str) -> Path:
        """The folder of a part."""
        own = self.folder / name
        return self.folder if self.family == UNET and not own.is_dir() else own

    @cached_property
    def schedule(self) -> Path:
        """The file that tells how noise was added."""
        return self.part("scheduler") / SCHEDULE

    def config(self, name: str) -> dict[str, Any]:
        """What a part says of itself."""
        return read_json(self.part(name) / CONFIG)

    def digest(self, *names: str) -> str:
        """A digest of all that makes the parts `names` what they are."""
        files: list[Path] = []
        for name in names:
            folder = self.part(name)
            if name == "scheduler":
                files.append(self.schedule)
            elif name in self.tokenizers:
                files += [folder / f for f in TOKENS if (folder / f).is_file()]
            else:
                files += [folder / CONFIG, *weights(folder, name)[1]]
        return key({f.relative_to(self.folder).as_posix(): file_digest(f) for f in files})

    @property
    def wanted(self) -> hub.Wanted:
        """The files, shards aside."""
        groups = [network(name, self.family == UNET) for name in self.networks]
        groups += [tokenizer(name) for name in self.tokenizers]
        root = ((SCHEDULE,),) if self.family == UNET else ()
        groups.append(((f"scheduler/{SCHEDULE}",), *root))
        extra = [f"{name}/{file}" for name in self.tokenizers for file in TOKENS]
        first = (((INDEX,),),) if self.index else ()
        return hub.Wanted((*first, *groups), tuple(extra))

    @property
    def shards(self) -> hub.Wanted:
        """The files that hold the weights, those that an index names among them.

        Raises:
            Unavailable: A part has no weights in safetensors.
        """
        files = [f for name in self.networks for f in weights(self.part(name), name)[1]]
        first = [self.folder / INDEX] if self.index else []
        return hub.Wanted(
            tuple(((f.relative_to(self.folder).as_posix(),),) for f in [*first, *files])
        )


def identify(folder: Path) -> Layout:
    """What lies in `folder`.

    Raises:
        Unavailable: There is no such folder.
        InputError: It holds something else; says what.
    """
    if not folder.is_dir():
        raise Unavailable(f"there is no folder '{folder}' to read a diffusion model from")
    if not (folder / INDEX).is_file():
        return _alone(folder)
    index = read_json(folder / INDEX)
    name = index.get("_class_name")
    if not isinstance(name, str) or name not in PIPELINES:
        raise InputError(f"{folder} holds a {_plain(name)}, which is of another family; {READ}")
    return Layout(folder, PIPELINES[name], index)


def _alone(folder: Path) -> Layout:
    """A folder without `model_index.json`: a lone U-Net, or something to refuse."""
    if (folder / "diffusion.json").is_file():
        raise InputError(
            f"{folder} holds a diffusion model of ilk's own; open it as diffusion:PATH"
        )
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} has neither {INDEX} nor {CONFIG}: no checkpoint; {READ}")
    told = read_json(folder / CONFIG)
    name = told.get("_class_name")
    if name == "UNet2DModel":
        return Layout(folder, UNET, {})
    if (folder.parent / INDEX).is_file():
        raise InputError(f"{folder} is one part of a pipeline; name the folder above it")
    what = name or told.get("model_type") or told.get("architecture")
    raise InputError(f"{folder} holds a {_plain(what)} network, no diffusion pipeline; {READ}")


def _plain(name: object) -> str:
    named = name[-1] if isinstance(name, list) and name else name
    return str(named) if named else "nameless"
