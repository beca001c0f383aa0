"""Which methods apply to what there is, and where the others are at home."""

from __future__ import annotations

from ilk.encoders import Embeds, EmbedsText, ScoresClasses
from ilk.errors import InputError
from ilk.methods import available, parse
from ilk.methods.description_selection import DescriptionSelection
from ilk.methods.diffusion_classifier import DiffusionClassifier
from ilk.models import Method, describe
from ilk.plan import Plan


def tried_methods(encoder: Embeds, plan: Plan, *, labels: bool) -> list[Method]:
    """What is tried on `encoder`: the methods asked for, or the board's, as far as they apply."""
    asked: list[Method]
    if plan.methods:
        asked = [parse(text) for text in plan.methods]
    else:
        asked = [form() for form in available().values() if form.board]
        if plan.descriptions:
            asked.append(DescriptionSelection())
    for method in asked:
        if why := _elsewhere(method):
            raise InputError(f"{describe(method)} {why}")
    if isinstance(encoder, ScoresClasses):
        return [m for m in asked if fact(m, "needs_scores")] or [DiffusionClassifier()]
    reads_text = isinstance(encoder, EmbedsText)
    fit_for = [m for m in asked if reads_text or not fact(m, "needs_hints")]
    fit_for = [m for m in fit_for if not fact(m, "needs_scores")]
    return [m for m in fit_for if labels or not fact(m, "needs_labels")]


def _elsewhere(method: Method) -> str:
    """Why a folder with labels is no place for a method, and where it is at home; "" if it is."""
    if method.reads != "features":  # type: ignore[attr-defined]
        return "reads images and not features; it is there in Python"
    for name, why in (
        ("detects", "says what is odd and names no class; try: ilk normal DIR --out detector"),
        ("discovers", "answers with new groups too; try: ilk discover NEW --known MODEL"),
        ("unnamed", "finds classes that no label names; it is there in Python"),
        ("uses_domains", "learns from several domains and a folder is one; it is there in Python"),
    ):
        if fact(method, name):
            return why
    return ""


def readable(plan: Plan, encoders: list[Embeds]) -> None:
    """Raise InputError where every method asked for wants text and no encoder reads any."""
    asked = [parse(text) for text in plan.methods]
    if any(isinstance(encoder, EmbedsText | ScoresClasses) for encoder in encoders):
        return
    if asked and all(fact(method, "needs_hints") for method in asked):
        raise InputError(
            f"{describe(asked[0])} compares images with text, and none of the encoders reads text; "
            "add --encoder clip/ORG/NAME"
        )


def fact(method: Method, name: str) -> bool:
    return bool(getattr(method, name))
