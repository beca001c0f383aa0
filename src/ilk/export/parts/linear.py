"""Linear models of features, of their directions, and of hidden units."""

from __future__ import annotations

from typing import Any

import numpy as np

from ilk.export.graphs.formulas import apply_affine, apply_hidden_layer, normalize_rows
from ilk.export.graphs.graph import Expression


def _write_linear(model: Any, x: Expression) -> Expression:
    return apply_affine(x, model.weight, model.bias)


def _write_normalized(model: Any, x: Expression) -> Expression:
    return apply_affine(normalize_rows(x), model.weight, model.bias)


def _write_centred_cosine(model: Any, x: Expression) -> Expression:
    centred = x.cast(np.float64) - x.graph.weight(model.centre)
    return apply_affine(normalize_rows(centred), model.weight, model.bias)


def _write_normalized_means(model: Any, x: Expression) -> Expression:
    g = x.graph
    z = (x.cast(np.float64) - g.weight(model.centre)) / g.weight(model.scale)
    return apply_affine(normalize_rows(z), model.weight, model.bias)


def _write_unit_gaussian(model: Any, x: Expression) -> Expression:
    direction = normalize_rows(normalize_rows(x) - x.graph.weight(model.centre))
    return apply_affine(direction, model.weight, model.bias)


def _write_prototypes(model: Any, x: Expression) -> Expression:
    centred = normalize_rows(x.cast(np.float64) - x.graph.weight(model.centre))
    bias = np.where(model.counts > 0, 0.0, -np.inf)
    return apply_affine(centred * model.inverse_temperature, model.compute_prototypes(), bias)


def _write_mlp(model: Any, x: Expression) -> Expression:
    return apply_affine(write_hidden(model, x), model.weight, model.bias)


def write_hidden(model: Any, x: Expression) -> Expression:
    """Return the last hidden units `[n, h]` of an `MLP`, or of one with further layers."""
    h = apply_hidden_layer(x, model.centre, model.scale, model.hidden_weight, model.hidden_bias)
    if hasattr(model, "trunk_weight"):
        for weight, bias in zip(model.trunk_weight, model.trunk_bias, strict=True):
            h = apply_affine(h, weight, bias).maximum(0.0)
    return h


def _write_residual(model: Any, x: Expression) -> Expression:
    g = x.graph
    branch = write_hidden(model, x) @ g.weight(model.branch_weight).transpose(1, 0)
    centred = (x.cast(np.float64) - g.weight(model.centre)) / model.unit
    return apply_affine(centred + branch * model.own_strength, model.weight, model.bias)


def _write_exemplar_means(model: Any, x: Expression) -> Expression:
    means = np.asarray(model.means)
    bias = np.where(np.isfinite(model.bias), -0.5 * np.sum(means**2, axis=1), -np.inf)
    scores = apply_affine(normalize_rows(write_hidden(model, x)), means, bias)
    return scores * float(model.inverse_temperature)


def _write_kernel_machine(model: Any, x: Expression) -> Expression:
    g = x.graph
    if len(model.hidden_weight):
        z = apply_hidden_layer(x, model.centre, model.scale, model.hidden_weight, model.hidden_bias)
    else:
        z = x.cast(np.float64) - g.weight(model.centre)
    return apply_affine(z, model.weight, model.bias)


def _write_joint_head(model: Any, x: Expression) -> Expression:
    from ilk.discovery.relation_distillation import TEMPERATURE

    h = apply_hidden_layer(x, model.centre, model.scale, model.hidden_weight, model.hidden_bias)
    return apply_affine(normalize_rows(h), model.weight / np.float32(TEMPERATURE), model.bias)


WRITERS = {
    "linear": _write_linear,
    "streaming_gaussian": _write_linear,
    "normalized_linear": _write_normalized,
    "normalized_means": _write_normalized_means,
    "unit_gaussian": _write_unit_gaussian,
    "soft_k_means_prototypes": _write_centred_cosine,
    "unrolled_em": _write_centred_cosine,
    "transductive_prototypes": _write_centred_cosine,
    "calibrated_prototypes": _write_prototypes,
    "mlp": _write_mlp,
    "deep_mlp": _write_mlp,
    "exemplar_mlp": _write_mlp,
    "ewc_head": _write_mlp,
    "residual_mlp": _write_residual,
    "nearest_mean_of_exemplars": _write_exemplar_means,
    "kernel_machine": _write_kernel_machine,
    "joint_head": _write_joint_head,
}
