"""The family of a checkpoint, its files, and where they are stored.

The layout is that of diffusers' `save_pretrained`: `model_index.json` names the pipeline and its
parts, and each part has a folder. A U-Net may also be stored in the root folder, as in early
checkpoints on the hub. Pickled weights are never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ilk.core.errors import InputError, Unavailable
from ilk.core.fingerprint import compute_key, hash_file
from ilk.diffusion.diffusers.files import (
    CONFIG,
    TOKENIZER_FILES,
    find_weights,
    list_network_files,
    list_tokenizer_files,
)
from ilk.hub import client as hub
from ilk.hub.configs import read_json

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
SUPPORTED = (
    "ilk reads pixel U-Nets (DDPMPipeline, DDIMPipeline, UNet2DModel), DiT (DiTPipeline) and "
    "Stable Diffusion 1, 2 and 3 (StableDiffusionPipeline, StableDiffusion3Pipeline)"
)


@dataclass(frozen=True)
class CheckpointLayout:
    """A checkpoint on disk.

    Attributes:
        folder: Root folder.
        family: One of `NETWORKS`.
        index: Content of `model_index.json`; empty for a single U-Net.
    """

    folder: Path
    family: str
    index: dict[str, Any]

    @property
    def has_third_encoder(self) -> bool:
        """Whether it has a third text encoder."""
        entry = self.index.get("text_encoder_3")
        return self.family == SD3 and bool(entry and entry[0])

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the parts that have weights."""
        return NETWORKS[self.family] + (("text_encoder_3",) if self.has_third_encoder else ())

    @property
    def tokenizers(self) -> tuple[str, ...]:
        """Names of the tokenizers."""
        return tuple(p.replace("text_encoder", "tokenizer") for p in self.networks if "text" in p)

    def get_folder(self, name: str) -> Path:
        """Return the folder of a part."""
        subfolder = self.folder / name
        return self.folder if self.family == UNET and not subfolder.is_dir() else subfolder

    @cached_property
    def schedule_file(self) -> Path:
        """Path of the noise scheduler's configuration."""
        return self.get_folder("scheduler") / SCHEDULE

    def read_config(self, name: str) -> dict[str, Any]:
        """Return the configuration of a part."""
        return read_json(self.get_folder(name) / CONFIG)

    def compute_digest(self, *names: str) -> str:
        """Return a digest over all files of the parts `names`."""
        files: list[Path] = []
        for name in names:
            folder = self.get_folder(name)
            if name == "scheduler":
                files.append(self.schedule_file)
            elif name in self.tokenizers:
                files += [folder / f for f in TOKENIZER_FILES if (folder / f).is_file()]
            else:
                files += [folder / CONFIG, *find_weights(folder, name)[1]]
        return compute_key({f.relative_to(self.folder).as_posix(): hash_file(f) for f in files})

    @property
    def required_files(self) -> hub.RequiredFiles:
        """The files required to open the checkpoint, except weight shards."""
        groups = [list_network_files(name, self.family == UNET) for name in self.networks]
        groups += [list_tokenizer_files(name) for name in self.tokenizers]
        root = ((SCHEDULE,),) if self.family == UNET else ()
        groups.append(((f"scheduler/{SCHEDULE}",), *root))
        extra = [f"{name}/{file}" for name in self.tokenizers for file in TOKENIZER_FILES]
        index_group = (((INDEX,),),) if self.index else ()
        return hub.RequiredFiles((*index_group, *groups), tuple(extra))

    @property
    def weight_files(self) -> hub.RequiredFiles:
        """The weight files, including those listed in shard indices.

        Raises:
            Unavailable: A part has no weights in safetensors format.
        """
        files = [f for name in self.networks for f in find_weights(self.get_folder(name), name)[1]]
        first = [self.folder / INDEX] if self.index else []
        return hub.RequiredFiles(
            tuple(((f.relative_to(self.folder).as_posix(),),) for f in [*first, *files])
        )


def identify(folder: Path) -> CheckpointLayout:
    """Return the layout of the checkpoint in `folder`.

    Raises:
        Unavailable: The folder does not exist.
        InputError: The folder holds something else; the message says what.
    """
    if not folder.is_dir():
        raise Unavailable(f"there is no folder '{folder}'; check the path of the diffusion model")
    if not (folder / INDEX).is_file():
        return _identify_lone_unet(folder)
    index = read_json(folder / INDEX)
    name = index.get("_class_name")
    if not isinstance(name, str) or name not in PIPELINES:
        raise InputError(
            f"{folder} holds a {_format_class_name(name)}, which is not supported; {SUPPORTED}"
        )
    return CheckpointLayout(folder, PIPELINES[name], index)


def _identify_lone_unet(folder: Path) -> CheckpointLayout:
    """Identify a folder without `model_index.json`: a single U-Net, or an error."""
    if (folder / "diffusion.json").is_file():
        raise InputError(
            f"{folder} holds a diffusion model trained by ilk; open it as diffusion:PATH"
        )
    if not (folder / CONFIG).is_file():
        raise InputError(
            f"{folder} has neither {INDEX} nor {CONFIG}, so it is not a checkpoint; {SUPPORTED}"
        )
    config = read_json(folder / CONFIG)
    name = config.get("_class_name")
    if name == "UNet2DModel":
        return CheckpointLayout(folder, UNET, {})
    if (folder.parent / INDEX).is_file():
        raise InputError(f"{folder} is one part of a pipeline; give its parent folder")
    class_name = name or config.get("model_type") or config.get("architecture")
    raise InputError(
        f"{folder} holds a {_format_class_name(class_name)} network, not a diffusion "
        f"pipeline; {SUPPORTED}"
    )


def _format_class_name(name: object) -> str:
    class_name = name[-1] if isinstance(name, list) and name else name
    return str(class_name) if class_name else "nameless"
