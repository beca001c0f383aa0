"""Write a classifier as one ONNX graph: from pixels to name, probabilities, set and unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ilk.artifacts.classifier import Classifier
from ilk.core.errors import InputError
from ilk.core.versions import get_versions
from ilk.export.decision import write_probabilities, write_score, write_set
from ilk.export.graphs.find_writers import find_encoder_writer, write_logits
from ilk.export.graphs.graph import IR_VERSION, OPSET, Expression, Graph
from ilk.export.graphs.picture import Picture

PIXELS = "pixels"
OUTPUTS = ("label", "probabilities", "prediction_set", "unknown", "unknown_score")
STAGES = ("prepared pixels", "features", "logits", "probabilities before the class priors")
NAMES_KEY, SUMMARY_KEY, PARITY_KEY = "names", "ilk", "parity"
MAX_FILE_BYTES = 2**31 - 1


@dataclass(frozen=True, eq=False)
class BuiltModel:
    """A classifier as an ONNX model.

    Attributes:
        model: The model.
        stages: Names of inner values by stage, in the order in which they are computed.
    """

    model: Any
    stages: dict[str, list[str]] = field(default_factory=dict)


def build_model(
    classifier: Classifier,
    summary: Mapping[str, Any] | None = None,
    networks: Mapping[str, Any] | None = None,
) -> BuiltModel:
    """Return the ONNX model of a classifier.

    Its input is `pixels`, `[n, height, width, 3]` uint8: n upright RGB images of one size, any.
    Its outputs are `label [n]` int64, an index into the names in the metadata, `probabilities [n,
    k]` float32, `prediction_set [n, k]` bool, `unknown [n]` bool and `unknown_score [n]` float32.

    Args:
        classifier: The classifier.
        summary: Further entries of the metadata `ilk`.
        networks: ONNX models by `get_network_key`, instead of those that torch exports.

    Raises:
        InputError: ONNX cannot express the encoder or the head.
        Unavailable: torch cannot export the network.
    """
    from onnx import TensorProto, helper

    graph = Graph(networks=networks or {})
    pixels = Expression(graph, PIXELS, np.dtype(np.uint8))
    values = _write_answer(classifier, pixels)
    stages = values.pop("stages")
    k = len(classifier.classes)
    types: dict[str, tuple[Any, list[str | int | None]]] = {
        "label": (TensorProto.INT64, ["n"]),
        "probabilities": (TensorProto.FLOAT, ["n", k]),
        "prediction_set": (TensorProto.BOOL, ["n", k]),
        "unknown": (TensorProto.BOOL, ["n"]),
        "unknown_score": (TensorProto.FLOAT, ["n"]),
    }
    for name in OUTPUTS:
        graph.name_value(values[name], name)
    onnx_graph = helper.make_graph(
        graph.nodes,
        "ilk",
        [helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["n", "height", "width", 3])],
        [helper.make_tensor_value_info(name, *types[name]) for name in OUTPUTS],
        list(graph.constants.values()),
    )
    model = helper.make_model(
        onnx_graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="ilk",
        producer_version=str(get_versions().get("ilk", "")),
    )
    set_metadata(
        model,
        {
            NAMES_KEY: json.dumps(list(classifier.classes)),
            SUMMARY_KEY: json.dumps({**_summarize(classifier), **(summary or {})}),
        },
    )
    if model.ByteSize() > MAX_FILE_BYTES:
        raise InputError(
            f"the file would have {model.ByteSize() / 2**30:.1f} GiB, and one ONNX file holds less "
            "than 2; fit the model with a smaller encoder or fewer neighbours"
        )
    return BuiltModel(model, stages)


def _write_answer(classifier: Classifier, pixels: Expression) -> dict[str, Any]:
    graph = pixels.graph
    picture = Picture.from_pixels(pixels.transpose(0, 3, 1, 2))
    writer = find_encoder_writer(classifier.encoder)
    prepared = writer.write_pixels(classifier.encoder, picture)
    x = writer.write_features(classifier.encoder, prepared)
    z = write_logits(classifier.model, x)
    before = write_probabilities(z, classifier.calibration, None)
    p = before
    if classifier.class_priors is not None:
        p = write_probabilities(z, classifier.calibration, classifier.class_priors)
    score = write_score(x, classifier.ood_detector)
    pixel_names = [t.name for t in (prepared if isinstance(prepared, list) else [prepared])]
    names = (pixel_names, [x.name], [z.name], [before.name])
    return {
        "label": graph.apply("ArgMax", p, dtype=np.int64, axis=1, keepdims=0),
        "probabilities": p.cast(np.float32),
        "prediction_set": write_set(p, score, classifier.conformal),
        "unknown": score > float(classifier.ood_detector.threshold),
        "unknown_score": score.cast(np.float32),
        "stages": dict(zip(STAGES, names, strict=True)),
    }


def _summarize(classifier: Classifier) -> dict[str, Any]:
    """Return what a reader of the file may want to know of the model."""
    return {
        "input": "uint8 [n, height, width, 3]: upright RGB, transparency on white",
        "encoder": classifier.encoder.name,
        "method": str(classifier.metadata.get("method", "")),
        "coverage": classifier.conformal.level,
        "false_alarm": classifier.ood_detector.false_alarm,
        "unknown_threshold": classifier.ood_detector.threshold,
        "versions": {name: v for name, v in get_versions().items() if v},
    }


def set_metadata(model: Any, entries: Mapping[str, str]) -> None:
    """Set entries of a model's metadata, replacing those of the same keys."""
    kept = {p.key: p.value for p in model.metadata_props if p.key not in entries}
    del model.metadata_props[:]
    for key, value in {**kept, **entries}.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value


def get_metadata(model: Any) -> dict[str, str]:
    """Return the entries of a model's metadata."""
    return {p.key: p.value for p in model.metadata_props}
