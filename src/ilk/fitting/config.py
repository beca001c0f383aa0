"""Define `FitConfig`, the settings of a fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, fields, is_dataclass
from numbers import Integral, Real
from typing import Any

from ilk.core.contracts import describe
from ilk.core.device import check_precision
from ilk.core.errors import InputError
from ilk.diffusion.classification.context import DEFAULT_PROMPTS
from ilk.encoders.variants import check_variants
from ilk.fitting.selection_statistics import CRITERIA
from ilk.images import parse_labels

__all__ = ["CRITERIA", "DEFAULT_PROMPTS", "FitConfig"]


@dataclass(frozen=True)
class FitConfig:
    """Settings of a fit.

    A tuple of one name may be given as plain text: `encoders="hog"`.

    Attributes:
        encoders: Encoder names as given to `--encoder`. `default`, or an empty tuple, selects the
            default encoders that are available.
        classifiers: Diffusion classifiers to compare, `diffusion:PATH`.
        methods: Methods as text, such as `GDA(shrink=0.2)`, or as objects; empty selects all
            suitable methods.
        folds: Number of cross-validation folds, at least 2.
        seed: Seed of the folds, the bootstrap and all methods.
        coverage: Target coverage of the conformal sets, in (0, 1).
        false_alarm: Rate at which images of known classes may be flagged as unknown, in (0, 1).
        criterion: Criterion of model selection: accuracy, macro_accuracy, log_loss or, for ordered
            classes, mean_absolute_error.
        classes: Class names for zero-shot classification without labels: any names for an encoder
            that embeds text; names of ImageNet classes, or of what lies above them in WordNet, for
            `efficientnet-lite0`.
        prompts: Prompts for text encoders, with `{}` in place of the class name.
        descriptions: Sentences for text encoders that describe appearance without naming a class;
            `DescriptionSelection` selects the discriminative ones.
        single: Use the best single candidate, without trying ensembles.
        device: auto, cpu, cuda, cuda:N or mps.
        runtime: auto, torch, openvino or onnxruntime.
        precision: float32 or bfloat16.
        multi_label: Whether images have sets of labels; they must also be read that way.
        ordered: Whether the classes are numbers, so that errors have a size.
        resize: How images of a different shape than the encoder's input are resized: crop, squash
            or letterbox; auto compares crop and letterbox if a crop would cut off much.
        views: Number of flips and crops over which the features of pretrained encoders are
            averaged, 1 for none; auto compares 1 and 6 if there are few images.
        class_structure: File that says which classes are similar: a tree, angles, coordinates or
            distances; see `ilk.fitting.class_structure`. A class that is named only there, and has
            no image, can be predicted nevertheless. The default method is then `Loki`.
        thumbnails: Whether the model keeps small pictures of some training images, beside their
            features and paths, so that `explain` can show the nearest ones.
        group_duplicates: Whether copies of one picture are found and held together in every split
            and fold, and the accuracy is also given with the leaks: `group_from="duplicates"`.
        explain: Number of evaluated images whose heat maps the report shows, each of which takes
            seconds; at least 0.
        memory: Gigabytes that a fit on a shard folder may use for features; if they need more, it
            reads them block by block (`ilk.fitting.out_of_core`). 0 is half of what is available.

    Raises:
        InputError: A value is out of range or of the wrong type.
    """

    encoders: tuple[str, ...] = ()
    classifiers: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    folds: int = 5
    seed: int = 0
    coverage: float = 0.9
    false_alarm: float = 0.05
    criterion: str = "accuracy"
    classes: tuple[str, ...] = ()
    prompts: tuple[str, ...] = DEFAULT_PROMPTS
    descriptions: tuple[str, ...] = ()
    single: bool = False
    device: str = "auto"
    runtime: str = "auto"
    precision: str = "float32"
    multi_label: bool = False
    ordered: bool = False
    resize: str = "auto"
    views: int | str = "auto"
    class_structure: str = ""
    thumbnails: bool = True
    explain: int = 0
    memory: float = 0.0
    group_duplicates: bool = False

    def __post_init__(self) -> None:
        if hasattr(self.class_structure, "__fspath__"):
            object.__setattr__(self, "class_structure", str(self.class_structure))
        for f in fields(self):
            if f.type == "tuple[str, ...]":
                object.__setattr__(self, f.name, _to_names(f.name, getattr(self, f.name)))
            elif f.type in ("int", "float", "str"):
                _check_type(f.name, getattr(self, f.name), f.type)
        for name in ("coverage", "false_alarm"):
            if not 0 < (value := getattr(self, name)) < 1:
                raise InputError(f"{name} is {value}; it must lie between 0 and 1")
        if self.folds < 2:
            raise InputError(f"folds is {self.folds}; cross-validation needs at least 2")
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; it must be at least 0")
        if self.seed >= 2**32:
            raise InputError(f"seed is {self.seed}; it must be below 2**32")
        if self.explain < 0:
            raise InputError(f"explain is {self.explain}; it must be at least 0")
        if not 0 <= self.memory < float("inf"):
            raise InputError(f"memory is {self.memory}; give gigabytes, or 0 for a default")
        if self.criterion not in CRITERIA:
            raise InputError(
                f"criterion is {self.criterion!r}; it must be one of {', '.join(CRITERIA)}"
            )
        if self.class_structure and (self.multi_label or self.classifiers):
            raise InputError(
                "class_structure is for classifiers of features with one class per image; leave "
                "out multi_label and classifiers, or the structure"
            )
        check_precision(self.precision)
        if self.multi_label and self.group_duplicates:
            raise InputError(
                "group_from (--group-from) duplicates is for one class per image; for several "
                "labels, write the groups of ilk duplicates into a column: --group-column"
            )
        if self.multi_label and self.ordered:
            raise InputError("multi_label and ordered exclude each other; choose one of them")
        if self.criterion == "mean_absolute_error" and not self.ordered:
            raise InputError(
                "the criterion mean_absolute_error needs classes that are numbers; "
                "add ordered=True (--ordered)"
            )
        if not all(name.strip() for name in self.classes):
            raise InputError("a class name is empty; name classes as in --class cat,dog")
        object.__setattr__(self, "classes", tuple(map(str, parse_labels(self.classes))))
        check_variants(self.resize, self.views)
        for prompt in self.prompts:
            if "{}" not in prompt:
                raise InputError(f"the prompt {prompt!r} has no {{}} in place of the class name")


def _to_names(name: str, value: Any) -> tuple[str, ...]:
    """Return a setting of several names as a tuple; one name, or one method, stands for itself."""
    if isinstance(value, str) or is_dataclass(value):
        value = (value,)
    if isinstance(value, bytes | Mapping) or not isinstance(value, Iterable):
        raise InputError(f"{name} is {value!r}; give a name, or a list of names")
    items = sorted(value) if isinstance(value, Set) else list(value)
    return tuple(_to_name(name, item) for item in items)


def _to_name(name: str, item: Any) -> str:
    if isinstance(item, str):
        return str(item)
    if name == "methods" and is_dataclass(item):
        return item.__name__ if isinstance(item, type) else describe(item)
    raise InputError(f"{name} contains {item!r}, a {type(item).__name__}; give names as text")


def _check_type(name: str, value: Any, expected: str) -> None:
    kind, text = {
        "int": (Integral, "a whole number"),
        "float": (Real, "a number"),
        "str": (str, "text"),
    }[expected]
    if isinstance(value, bool) or not isinstance(value, kind):
        raise InputError(f"{name} is {value!r}; it must be {text}")
