"""Every class that can be saved has a unique kind, keeps its fields, and survives a round trip."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from ilk.artifacts import pack
from ilk.artifacts.part_fields import check_part
from ilk.core.errors import ArtifactError
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
    "adjusted_model": "base weight bias",
    "calibrated_prototypes": "centre means counts is_base alpha tau inverse_temperature",
    "calibration": "temperature uniform_weight n_rows",
    "class_priors": "source target",
    "conformal_predictor": "threshold tie_threshold level n_rows n_groups",
    "description_classifier": (
        "class_embeddings description_embeddings similarity name_weight n_candidates "
        "descriptions_per_class scale"
    ),
    "dirichlet_classifier": "centre anchors weight bias",
    "domain_heads": (
        "centre scale hidden_weight hidden_bias weight bias means gamma use_distance trust"
    ),
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
    "neighbour_detector": "rows neighbours calibration_scores calibration_votes",
    "neighbour_memory": (
        "centre rows y initial_predictions n_train validation_rows initial_accuracy "
        "min_similarity recent_similarity recent_predictions k temperature n_classes "
        "message min_vote expected_accuracy confident_precision recent_confident"
    ),
    "neighbours": "rows y centre k n_classes weight",
    "network_pair": "parameters in_channels n_classes attention centre scale present_classes",
    "normalized_linear": "weight bias",
    "normalized_means": "centre scale weight bias counts inverse_temperature",
    "out_of_distribution_detector": (
        "centre axes std means residual_variance threshold false_alarm n_rows n_groups"
    ),
    "patch_detector": (
        "memory centre whitening height width neighbours calibration_scores calibration_votes"
    ),
    "soft_k_means_prototypes": "centre weight bias",
    "streaming_gaussian": "weight bias counts means scatter",
    "student_mixture": "centre basis mean whitening degrees constant group_counts",
    "summary_statistics": "counts means scatter_triangle x y logits unknown_score group",
    "transductive_prototypes": "centre weight bias",
    "unit_gaussian": "centre weight bias counts means residuals",
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


def make_value(part_class: type[Any], name: str, seed: int) -> Any:
    """Return a value for a field of a saved part, by its type, shape and bounds."""
    hint = get_type_hints(part_class)[name]
    _, high = getattr(part_class, "bounds", {}).get(name, (0.0, np.inf))
    rng = np.random.default_rng(seed)
    if hint in (int, float, str, bool):
        number = min(0.5 + seed, high)
        return {int: seed + 2, float: number, str: f"text {seed}", bool: True}[hint]
    if get_origin(hint) is tuple and hasattr(get_args(hint)[0], "kind"):
        return (make_part(get_args(hint)[0]),)
    if "MemberModel" in str(hint):
        return (make_part(CLASSES["ensemble_member"]),)
    if "Model" in str(hint) or hint is Any:
        return Linear(np.ones((2, 2), np.float32), np.zeros(2, np.float32))
    dtype = np.int64 if "int64" in str(hint) else np.float64 if "float64" in str(hint) else "<f4"
    shape = (2,) * len(part_class.shapes[name].split())
    return (rng.integers(1, 9, shape) / (9 if high == 1 else 1)).astype(dtype)


def make_part(part_class: type[Any]) -> Any:
    """Return a part with plausible values in all fields."""
    names = [f.name for f in fields(part_class)]
    return part_class(**{name: make_value(part_class, name, i) for i, name in enumerate(names)})


def is_array(part_class: type[Any], name: str) -> bool:
    """Whether a field is an array."""
    return "ndarray" in str(get_type_hints(part_class)[name])


@pytest.mark.parametrize("kind", CLASSES)
def test_a_part_survives_a_round_trip(kind: str) -> None:
    part = make_part(CLASSES[kind])
    weights, descriptions = pack.pack({"part": part})
    assert descriptions["part"]["kind"] == kind
    assert "ilk" not in str(descriptions)
    restored = pack.unpack(weights, descriptions)["part"]
    assert type(restored) is CLASSES[kind]
    for f in fields(CLASSES[kind]):
        before, after = getattr(part, f.name), getattr(restored, f.name)
        if isinstance(before, tuple):
            [before], [after] = before, after
        if is_dataclass(before):
            before, after = pack.pack({"": before}), pack.pack({"": after})
            assert before == after
            continue
        np.testing.assert_array_equal(after, before)
        assert np.asarray(after).dtype == np.asarray(before).dtype


@pytest.mark.parametrize("kind", CLASSES)
def test_every_array_states_its_axes(kind: str) -> None:
    arrays = {f.name for f in fields(CLASSES[kind]) if is_array(CLASSES[kind], f.name)}
    assert arrays == getattr(CLASSES[kind], "shapes", {}).keys()


WRONG = {  # by the type of the right value
    bool: (None, "text", 1, 0.5, [], {}),
    int: (None, "text", -1, True, 0.25, np.nan, 10**400, 2**60, [], {}),
    float: (None, "text", True, np.nan, np.inf, -np.inf, 10**400, [], {}),
    str: (None, 1, 0.5, True, [], {}),
}
NO_PART = (None, "text", 1, {}, [], [1], [{}], {"kind": "calibration"}, {"kind": "?"})


@pytest.mark.parametrize("kind", CLASSES)
def test_a_field_of_another_type_is_refused(kind: str) -> None:
    part = make_part(CLASSES[kind])
    weights, descriptions = pack.pack({"part": part})
    bounds = getattr(CLASSES[kind], "bounds", {})
    for f in fields(CLASSES[kind]):
        wrong = WRONG.get(type(getattr(part, f.name)), NO_PART)
        if f.name in bounds and isinstance(getattr(part, f.name), float):
            wrong += (-1.0, *(1.5 for bound in [bounds[f.name][1]] if bound == 1))
        if isinstance(getattr(part, f.name), np.ndarray):
            continue
        for value in wrong:
            with pytest.raises(ArtifactError):
                pack.unpack(weights, {"part": {**descriptions["part"], f.name: value}})


@pytest.mark.parametrize("kind", CLASSES)
def test_an_array_that_is_not_finite_or_has_another_shape_is_refused(kind: str) -> None:
    part_class = CLASSES[kind]
    for f in fields(part_class):
        if not is_array(part_class, f.name):
            continue
        array = make_value(part_class, f.name, 0)
        wrong = [array[None], array.astype("U4")]
        if array.dtype.kind == "f" and f.name not in getattr(part_class, "nan_fields", ()):
            wrong += [array * np.nan, array * np.inf]
        letters = " ".join(part_class.shapes.values()).replace("?", "").split()
        if letters.count(part_class.shapes[f.name].replace("?", "").split()[0]) > 1:
            wrong.append(array[:1])
        for value in wrong:
            edited = replace(make_part(part_class), **{f.name: value})
            with pytest.raises((TypeError, ValueError)):
                check_part(edited, "part")


def test_a_class_without_rows_keeps_its_bias_of_minus_infinity() -> None:
    check_part(Linear(np.zeros((2, 3), np.float32), np.array([0, -np.inf], np.float32)), "model")
    with pytest.raises(ValueError, match=r"weight holds a value that is not finite"):
        check_part(Linear(np.full((2, 3), -np.inf, np.float32), np.zeros(2, np.float32)), "model")
