"""Models that mix probabilities: ensembles, groups of classes, domains, added classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ilk.export.graphs.find_writers import write_logits
from ilk.export.graphs.formulas import (
    apply_affine,
    apply_hidden_layer,
    log_softmax,
    log_sum_exp,
    normalize_rows,
    softmax,
)
from ilk.export.graphs.graph import Expression

MIN_PROBABILITY = 1e-300


def calibrate(z: Expression, temperature: float, uniform_weight: float) -> Expression:
    """Return `(1 - w) softmax(z / T) + w / k` over the k classes with finite logits."""
    is_possible = (z > -np.inf).cast(np.float64)
    uniform = is_possible / is_possible.reduce("Sum", 1)
    return softmax(z / temperature) * (1 - uniform_weight) + uniform * uniform_weight


def _write_member(model: Any, x: Expression) -> Expression:
    columns = [(int(first), int(last)) for first, last in model.columns]
    blocks = [x.slice(first, last, 1) for first, last in columns]
    if len(columns) > 1:
        blocks = [b / np.float32(s) for b, s in zip(blocks, model.scale, strict=True)]
    return write_logits(model.model, x.graph.concatenate(blocks, 1))


def _write_ensemble(model: Any, x: Expression) -> Expression:
    total = 0.0
    mean: Expression | None = None
    for member in model.members:
        if member.weight > 0:
            z = _write_member(member, x)
            p = calibrate(z, member.temperature, member.uniform_weight)
            part = p.map("Log") * member.weight
            mean, total = part if mean is None else mean + part, total + member.weight
    assert mean is not None  # an ensemble has a member with a weight
    return mean / total


def _write_grouped_softmax(model: Any, x: Expression) -> Expression:
    g = x.graph
    z = apply_affine(x, model.weight, model.bias)
    total = log_sum_exp(z)
    sums = []
    for group in range(int(model.group.max()) + 1):
        members = np.flatnonzero(model.group == group)
        sums.append(log_sum_exp(z.gather(members, axis=1)))
    k = len(sums)
    inside = g.concatenate(sums, 1) - total
    members = np.flatnonzero(model.group < 0)
    if not len(members):
        return inside
    outside = log_sum_exp(z.gather(members, axis=1)) - total - float(np.log(k))
    top = inside.maximum(outside)
    return ((inside - top).map("Exp") + (outside - top).map("Exp")).map("Log") + top


def _write_extended(model: Any, x: Expression) -> Expression:
    g = x.graph
    z = write_logits(model.base, x)
    gaussian = apply_affine(x, model.weight, model.bias) / model.gaussian_temperature
    old, added = gaussian.slice(0, model.n_old, 1), gaussian.slice(model.n_old, len(model.bias), 1)
    log_odds = added - log_sum_exp(old)
    log_total = log_sum_exp(z / model.base_temperature)
    return g.concatenate([z, (log_odds + log_total) * model.base_temperature], 1)


def _write_domain_heads(model: Any, x: Expression) -> Expression:
    from ilk.methods.drm import MIN_GAP

    g = x.graph
    h = apply_hidden_layer(x, model.centre, model.scale, model.hidden_weight, model.hidden_bias)
    heads = [
        log_softmax(apply_affine(h, weight, bias))
        for weight, bias in zip(model.weight, model.bias, strict=True)
    ]
    if len(heads) == 1:
        return heads[0]
    possible = np.isfinite(model.bias[0])
    gaps = []
    for number, log_p in enumerate(heads[1:]):
        if model.use_distance:
            mean = np.asarray(model.means[number], np.float64)
            mean = mean / (np.linalg.norm(mean) or 1.0)
            gaps.append(-(normalize_rows(h) @ g.constant(mean[:, None])) + 1.0)
        else:
            log_p = log_p.gather(np.flatnonzero(possible), axis=1)
            gaps.append(-(log_p.map("Exp") * log_p).reduce("Sum", 1))
    gap = g.concatenate(gaps, 1).maximum(MIN_GAP)
    scores = gap.map("Log") * -float(model.gamma)
    if model.trust is not None:
        scores = scores + g.constant(np.log(np.asarray(model.trust, np.float64)))
    weight = softmax(scores)
    p = None
    for number, log_p in enumerate(heads[1:]):
        part = weight.slice(number, number + 1, 1) * log_p.map("Exp")
        p = part if p is None else p + part
    assert p is not None
    return g.constant(possible).select(p.maximum(MIN_PROBABILITY).map("Log"), -np.inf)


def _write_dirichlet(model: Any, x: Expression) -> Expression:
    z = normalize_rows(x.cast(np.float64) - x.graph.weight(model.centre))
    bias = np.where(np.isfinite(model.bias), 0.0, model.bias)
    log_p = log_softmax(apply_affine(z, model.anchors, bias)).maximum(-1e9)
    return apply_affine(log_p, model.weight, model.bias)


def _write_frechet_mean(model: Any, x: Expression) -> Expression:
    p = softmax(apply_affine(x, model.weight, model.bias))
    return -(p @ x.graph.weight(model.squared_distances).transpose(1, 0))


def _write_student_mixture(model: Any, x: Expression) -> Expression:
    g = x.graph
    z = (x.cast(np.float64) - g.weight(model.centre)) @ g.weight(model.basis)
    columns = []
    for mean, whitening, degrees, constant in zip(
        model.mean, model.whitening, model.degrees, model.constant, strict=True
    ):
        u = (z - g.weight(mean)) @ g.weight(whitening)
        distance = (u * u).reduce("Sum", 1) / float(degrees)
        factor = -0.5 * (float(degrees) + model.basis.shape[1])
        columns.append((distance + 1.0).map("Log") * factor + float(constant))
    return g.concatenate(columns, 1)


WRITERS = {
    "ensemble": _write_ensemble,
    "ensemble_member": _write_member,
    "grouped_softmax": _write_grouped_softmax,
    "extended_model": _write_extended,
    "domain_heads": _write_domain_heads,
    "dirichlet_classifier": _write_dirichlet,
    "frechet_mean_classifier": _write_frechet_mean,
    "student_mixture": _write_student_mixture,
}
