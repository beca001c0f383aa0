"""A tuned network on disk: `tuned.json` and `weights.safetensors`, and the network they make.

Three kinds of network are kept in a folder. A `network` is a pretrained one whose weights were
tuned, all of them or those of its last blocks: the file holds what was tuned, and the rest is that
of the base encoder. A `wrapper` leaves the pretrained weights as they are, and the file holds its
own parameters alone (`ilk.peft`). A `student` was trained from scratch, so there is no base: its
architecture is one of a file of `ilk.architectures` that defines `STUDENTS`
(`ilk.training.student_features`), without its head.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.core.errors import ArtifactError, InputError, UnknownName
from ilk.core.registry import read_constants
from ilk.encoders.preprocess_entries import MAX_SIDE, parse_preprocess
from ilk.encoders.tuned_files import (
    DESCRIPTION,
    KeepsTrainingDigests,
    check_entries,
    digest_arrays,
    encode_files,
    read_arrays,
    read_entries,
    write_files,
)
from ilk.hub.preprocessing import Preprocess

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = "ilk tuned network 1"
NETWORK, WRAPPER, STUDENT = KINDS = ("network", "wrapper", "student")
ARCHITECTURES = "ilk.architectures"
UNFIT = (  # what networks and their settings raise where a file was altered
    *(TypeError, KeyError, IndexError, AttributeError, ValueError, ArithmeticError),
    *(RuntimeError, MemoryError, InputError),
)


@dataclass(frozen=True, eq=False)
class TunedNetwork(KeepsTrainingDigests):
    """What the folder of a tuned network holds.

    Attributes:
        kind: `network`, `wrapper` or `student`.
        preprocess: How images become its input.
        width: Number of its features.
        arrays: Weights by name, `[...]`: those that were tuned, the wrapper's own, or all of a
            student.
        base: `describe()` of the encoder whose network was tuned; None for a student.
        architecture: Name of the student's architecture; "" otherwise.
        settings: What that architecture is built with, beside its name; plain values.
        wrapper: The wrapper, such as `LoRA(rank=8)`; "" otherwise.
        tuned: What was tuned, in words, such as "last 2 of 16 blocks"; may be "".
        classes: Classes that it was trained on.
        trained_on: SHA-256 of each training image, `[n, 32]` uint8, sorted.
        results: What was measured when it was trained; any values of JSON.
    """

    kind: str
    preprocess: Preprocess
    width: int
    arrays: Mapping[str, NDArray[Any]]
    base: Mapping[str, Any] | None = None
    architecture: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    wrapper: str = ""
    tuned: str = ""
    classes: tuple[str, ...] = ()
    trained_on: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 32), np.uint8))
    results: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownName("kind of tuned network", self.kind, KINDS)
        if (self.base is None) != (self.kind == STUDENT):
            raise InputError("a student has no base encoder, and every other tuned network has one")

    def to_entries(self) -> dict[str, Any]:
        """Return what `tuned.json` says of the network, as plain values."""
        return {
            "format": FORMAT,
            "kind": self.kind,
            "base": None if self.base is None else dict(self.base),
            "architecture": self.architecture,
            "settings": dict(self.settings),
            "wrapper": self.wrapper,
            "tuned": self.tuned,
            "preprocess": self.preprocess.to_json(),
            "width": self.width,
            "classes": list(self.classes),
            "results": dict(self.results),
        }

    def to_files(self) -> dict[str, bytes]:
        """Return the contents of the folder's files by name."""
        return encode_files(self.to_entries(), self.arrays, self.trained_on)

    def digest_weights(self) -> str:
        """Return the SHA-256 of what makes the network besides its base, whatever the file."""
        what = (self.kind, self.architecture, sorted(self.settings.items()), self.wrapper)
        return digest_arrays(what, self.arrays)

    def build_network(self, base: nn.Module | None = None, *, merge: bool = True) -> nn.Module:
        """Return the network, in evaluation mode: normalized images `[b, 3, h, w]` to `[b, width]`.

        Args:
            base: The network of the base encoder, which is not changed; None for a student.
            merge: Whether a wrapper that can be merged becomes plain layers.

        Raises:
            ArtifactError: The weights do not fit the network.
        """
        import torch

        state = {name: torch.from_numpy(np.array(a)) for name, a in self.arrays.items()}
        try:
            if self.kind == STUDENT:
                network = build_student(self.architecture, self.settings)
                network.load_state_dict(state)
            else:
                assert base is not None, "only a student has none"
                network = copy.deepcopy(base)
                if self.kind == NETWORK:
                    _load_part(network, state)
                else:
                    network = _wrap(network, self.wrapper, state, merge)
        except UNFIT as error:
            line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise ArtifactError(f"the weights of a tuned network do not fit: {line}") from None
        return network.eval().requires_grad_(False)


def take_state(network: nn.Module, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Return tensors of a network's state, those called `names` or all, as arrays `[...]`."""
    state = network.state_dict()
    return {n: state[n].detach().cpu().numpy() for n in (state if names is None else names)}


def list_students() -> dict[str, str]:
    """Return the module of each architecture that a student may have, by the architecture's name.

    Their files are read and not imported.
    """
    found = read_constants(ARCHITECTURES, "STUDENTS")
    return {
        name: f"{ARCHITECTURES}.{m}" for m, values in found.items() for name in values["STUDENTS"]
    }


def build_student(architecture: str, settings: Mapping[str, Any]) -> nn.Module:
    """Return a student with fresh weights: normalized images `[b, 3, h, w]` to `[b, width]`.

    Raises:
        UnknownName: There is no such architecture.
        TypeError, ValueError: The settings do not fit it.
    """
    modules = list_students()
    if architecture not in modules:
        raise UnknownName("architecture", architecture, tuple(modules))
    from ilk.training.student_features import remove_head

    module: Any = import_module(modules[architecture])
    return remove_head(module.make_student(architecture, 2, **settings))


def _load_part(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a part of a network's state; all of it must be there and fit."""
    missing = set(state) - set(network.state_dict())
    if missing:
        raise KeyError(f"the network has no {min(missing)}")
    network.load_state_dict(dict(state), strict=False)


def _wrap(network: nn.Module, text: str, state: dict[str, Tensor], merge: bool) -> nn.Module:
    from ilk.peft import load_state, parse_wrapper

    wrapper = parse_wrapper(text)
    wrapper.apply(network)
    load_state(network, state)
    return wrapper.merge(network) if merge and wrapper.is_mergeable else network


@dataclass(frozen=True)
class _Description:
    """Entries of `tuned.json`."""

    format: str
    kind: Literal["network", "wrapper", "student"]
    base: dict[str, Any] | None
    architecture: str
    settings: dict[str, Any]
    wrapper: str
    tuned: str
    preprocess: dict[str, Any]
    width: int
    classes: list[str]
    results: dict[str, Any]
    weights: str


def write_tuned_network(folder: Path, network: TunedNetwork) -> None:
    """Write the folder of a tuned network; it is the old one or the new one, whenever killed.

    Raises:
        OutputError: It cannot be written.
    """
    write_files(folder, network.to_entries(), network.arrays, network.trained_on)


def read_tuned_network(folder: Path) -> TunedNetwork:
    """Read the folder of a tuned network.

    Raises:
        Unavailable: There is no such folder.
        ArtifactError: A file is damaged, altered, missing or of another version of ilk.
    """
    fields = read_entries(folder)
    if fields.get("format") != FORMAT:
        raise ArtifactError(
            f"{folder} has the format {fields.get('format')!r}, which is not a tuned network that "
            "this version of ilk knows; use the version that wrote it"
        )
    check_entries(fields, _Description, folder)
    try:
        preprocess = parse_preprocess(fields["preprocess"])
        if not 1 <= fields["width"] <= MAX_SIDE:
            raise ValueError(f"the width is {fields['width']}")
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{folder / DESCRIPTION} is damaged: {error}") from None
    arrays, trained_on = read_arrays(folder, fields["weights"])
    if (fields["base"] is None) != (fields["kind"] == STUDENT):
        raise ArtifactError(f"{folder} names no encoder whose network was tuned; tune it again")
    return TunedNetwork(
        fields["kind"],
        preprocess,
        fields["width"],
        arrays,
        fields["base"],
        fields["architecture"],
        fields["settings"],
        fields["wrapper"],
        fields["tuned"],
        tuple(fields["classes"]),
        trained_on,
        fields["results"],
    )
