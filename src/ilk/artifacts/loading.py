"""Load any trained classifier, whatever its type."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ilk.artifacts import model_folder
from ilk.artifacts.classifier import Classifier
from ilk.artifacts.image_blocks import PathLike
from ilk.artifacts.load_classifier import load as load_classifier
from ilk.artifacts.multi_label_classifier import MultiLabelClassifier, load_multi_label
from ilk.core.errors import InputError

AnyClassifier = Classifier | MultiLabelClassifier


def load(
    folder: PathLike,
    *,
    device: str = "auto",
    runtime: str = "auto",
    without: Sequence[str] = (),
    fetch: bool = False,
) -> AnyClassifier:
    """Load a classifier, with one label per image or several, from a model folder.

    Args:
        folder: Folder written by `Classifier.save` or `MultiLabelClassifier.save`.
        device: auto, cpu, cuda, cuda:N or mps.
        runtime: auto, torch, openvino or onnxruntime.
        without: Encoders of an ensemble to leave out because they are no longer on this machine.
        fetch: Download the files of an encoder that are not on this machine. The folder says which
            repository they come from, so trust its source; the user's token is not sent.

    Raises:
        ArtifactError: The folder is not a classifier, was written by another version of ilk, or
            was altered.
        Unavailable: The encoder is not available on this machine, or differs from the one that the
            classifier was fitted with.
        InputError: The classifier cannot do without an encoder of `without`.
    """
    if model_folder.read_format(Path(folder)) != model_folder.MULTI_LABEL.format:
        return load_classifier(folder, device=device, runtime=runtime, without=without, fetch=fetch)
    if without:
        raise InputError(f"{folder} has one encoder and cannot do without {', '.join(without)}")
    return load_multi_label(folder, device=device, runtime=runtime, fetch=fetch)
