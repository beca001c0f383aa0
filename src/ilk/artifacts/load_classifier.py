"""Load a trained classifier with one label per image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ilk.artifacts import model_folder, pack
from ilk.artifacts.classifier import PART_KINDS, RESERVED_KEYS, Classifier
from ilk.artifacts.encoder_files import locate_files
from ilk.artifacts.image_blocks import PathLike
from ilk.artifacts.neighbour_file import make_loader
from ilk.artifacts.remainder import explain_missing, remove_encoders
from ilk.artifacts.restored_parts import check_answers, check_classes, check_kinds, make_probe
from ilk.core.errors import Unavailable
from ilk.core.typed_values import check_type
from ilk.encoders import restore_encoder

OPTIONAL_PARTS = {"summary_statistics", "class_priors", "attention_maps"}


def load(
    folder: PathLike,
    *,
    device: str = "auto",
    runtime: str = "auto",
    without: Sequence[str] = (),
    fetch: bool = False,
) -> Classifier:
    """Load a classifier from a model folder.

    Args:
        folder: Folder written by `Classifier.save`.
        device: auto, cpu, cuda, cuda:N or mps.
        runtime: auto, torch, openvino or onnxruntime.
        without: Encoder of an ensemble to do without, because it is gone from this machine.
        fetch: Fetch the files of an encoder that are not on this machine. Which repository they
            come from stands in the folder, so trust its source; the user's token is not sent.

    Raises:
        ArtifactError: The folder is not a classifier, was written by another version of ilk, or
            was altered.
        Unavailable: The encoder is not available on this machine, or differs from the one that the
            classifier was fitted with.
        InputError: The classifier cannot do without the encoder named in `without`.
    """
    weights, metadata = model_folder.read(Path(folder))
    with model_folder.report_damage(Path(folder)):
        check_type(metadata, model_folder.CLASSIFIER.entries, "")
        parts = pack.unpack(weights, metadata["parts"])
        metadata["encoder"] = locate_files(metadata["encoder"], Path(folder))
        if without:
            parts, metadata = remove_encoders(parts, metadata, without)
        try:
            encoder = restore_encoder(
                metadata["encoder"], device=device, runtime=runtime, fetch=fetch
            )
        except Unavailable as error:
            raise explain_missing(error, metadata, device, runtime) from None
        other_metadata = {key: value for key, value in metadata.items() if key not in RESERVED_KEYS}
        classes = check_classes(metadata["classes"])
        check_kinds(parts, PART_KINDS, OPTIONAL_PARTS)
        classifier = Classifier(
            classes,
            encoder,
            metadata=other_metadata,
            neighbours=make_loader(Path(folder), metadata),
            **parts,
        )
        _check_fit(classifier)
        return classifier


def _check_fit(classifier: Classifier) -> None:
    """Raise ValueError unless the parts fit each other, the classes and the encoder."""
    k, detector = len(classifier.classes), classifier.ood_detector
    with np.errstate(all="ignore"):
        scored = classifier.score_batch(make_probe(classifier.encoder.space.dim))
    check_answers(
        k,
        probabilities=scored.probabilities,
        sets=scored.prediction_sets,
        scores=scored.unknown_score,
    )
    if classifier.class_priors is not None and len(classifier.class_priors.target) != k:
        raise ValueError(f"the class priors are not those of {k} classes")
    if (summary := classifier.summary_statistics) is not None:
        summary.check_consistent()
        if len(summary.counts) != k or np.count_nonzero(summary.counts) != len(detector.means):
            raise ValueError(f"the statistics are not those of {k} classes")
