"""Every class that can be saved has a unique kind, keeps its fields, and survives a round trip."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

import numpy as np
import pytest

from ilk.artifacts import pack
from ilk.core.linear_models import Linear
from ilk.core.registry import find_modules

CLASSES = {
    kind: part_class
    for package in pack.PACKAGES
    for kind, part_class in pack.list_savable(package).items()
}
# The format of saved models as released: kinds and their fields. A new kind works without being
# listed and is appended with a release. Renaming or removing a listed kind or field makes saved
# models unreadable: raise `model_folder.VERSION` in the same change.
FIELDS = {
    "calibrated_prototypes": "centre means counts is_base alpha tau inverse_temperature",
    "calibration": "temperature uniform_weight n_rows",
    "class_priors": "source target",
    "conformal_predictor": "threshold tie_threshold level n_rows n_groups",
    "description_classifier": (
        "class_embeddings description_embeddings similarity name_weight n_candidates "
        "descriptions_per_class scale"
    ),
    "dirichlet_classifier": "centre anchors weight bias",
    "domain_heads": "centre scale hidden_weight hidden_bias weight bias means gamma use_distance",
    "domain_mixture": "weight bias domain_given_class class_priors domains",
    "ewc_head": (
        "centre scale hidden_weight hidden_bias weight bias hidden_weight_fisher "
        "hidden_bias_fisher weight_fisher bias_fisher"
    ),
    "exemplar_mlp": "centre scale hidden_weight hidden_bias weight bias exemplars exemplar_labels",
    "extended_model": "base weight bias gaussian_temperature base_temperature n_old",
    "flattened_images": "model channels height width",
    "frechet_mean_classifier": "weight bias squared_distances",
    "gaussian_detector": (
        "centre axes std residual_precision degrees_of_freedom calibration_scores calibration_votes"
    ),
    "joint_head": "centre scale hidden_weight hidden_bias weight bias",
    "kernel_machine": "class_factors counts centre scale hidden_weight hidden_bias weight bias",
    "linear": "weight bias",
    "mlp": "centre scale hidden_weight hidden_bias weight bias",
    "nearest_mean_of_exemplars": (
        "centre scale hidden_weight hidden_bias weight bias exemplars exemplar_labels "
        "means inverse_temperature"
    ),
    "neighbour_memory": (
        "centre rows y initial_predictions n_train validation_rows initial_accuracy "
        "min_similarity recent_similarity recent_predictions k temperature n_classes "
        "message"
    ),
    "neighbours": "rows y centre k n_classes weight",
    "network_pair": "parameters in_channels n_classes attention centre scale present_classes",
    "normalized_linear": "weight bias",
    "normalized_means": "centre scale weight bias counts inverse_temperature",
    "out_of_distribution_detector": (
        "centre axes std means residual_variance threshold false_alarm n_rows n_groups"
    ),
    "soft_k_means_prototypes": "centre weight bias",
    "streaming_gaussian": "weight bias counts means scatter",
    "student_mixture": "centre basis mean whitening degrees constant group_counts",
    "summary_statistics": "counts means scatter_triangle x y logits unknown_score group",
    "transductive_prototypes": "centre weight bias",
    "unrolled_em": "centre weight bias",
}


def test_kinds_are_unique_across_packages() -> None:
    assert len(CLASSES) == sum(len(pack.list_savable(package)) for package in pack.PACKAGES)


def test_kinds_and_fields_are_those_of_the_saved_format() -> None:
    found = {kind: " ".join(f.name for f in fields(c)) for kind, c in sorted(CLASSES.items())}
    assert {kind: text for kind, text in found.items() if kind in FIELDS} == FIELDS


@pytest.mark.parametrize("kind", CLASSES)
def test_no_field_has_the_name_of_an_entry_of_the_description(kind: str) -> None:
    assert "kind" not in {f.name for f in fields(CLASSES[kind])}
    assert not any("." in f.name for f in fields(CLASSES[kind]))


@pytest.mark.parametrize("package", pack.PACKAGES)
def test_every_model_that_is_fitted_can_be_saved(package: str) -> None:
    """A dataclass with `logits` or `score` and without `fit` is a model."""
    missing = [
        f"{module.__name__}.{name}"
        for module in find_modules(package).values()
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and is_dataclass(value)
        and callable(getattr(value, "logits", getattr(value, "score", None)))
        and not hasattr(value, "fit")
        and not pack.is_savable(value)
    ]
    assert not missing


def make_value(hint: Any, seed: int) -> Any:
    """Return a value for a field of a saved part, chosen by its type."""
    rng = np.random.default_rng(seed)
    if hint in (int, float, str, bool):
        return {int: seed + 2, float: 0.5 + seed, str: f"text {seed}", bool: True}[hint]
    if "Model" in str(hint):
        return Linear(np.ones((2, 3), np.float32), np.zeros(2, np.float32))
    dtype = np.int64 if "int64" in str(hint) else np.float64 if "float64" in str(hint) else "<f4"
    return rng.integers(0, 9, (2, 3)).astype(dtype)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_part_survives_a_round_trip(kind: str) -> None:
    part_class = CLASSES[kind]
    hints = get_type_hints(part_class)
    values = {f.name: make_value(hints[f.name], i) for i, f in enumerate(fields(part_class))}
    part = part_class(**values)
    weights, descriptions = pack.pack({"part": part})
    assert descriptions["part"]["kind"] == kind
    assert "ilk" not in str(descriptions)
    restored = pack.unpack(weights, descriptions)["part"]
    assert type(restored) is part_class
    for f in fields(part_class):
        before, after = getattr(part, f.name), getattr(restored, f.name)
        if is_dataclass(before):
            before, after = before.weight, after.weight
        np.testing.assert_array_equal(after, before)
        assert np.asarray(after).dtype == np.asarray(before).dtype
