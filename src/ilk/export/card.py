"""A model card from what the model folder records. What is not recorded is "not stated"."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ilk.artifacts import model_folder
from ilk.artifacts.model_folder import CLASSIFIER, DETECTOR, MULTI_LABEL, FolderKind
from ilk.encoders.families import describe_weights
from ilk.updates.side_files import read_trained_rows

NOT_STATED = "not stated"
MAX_CLASSES = 200  # listed by name
TASKS = {  # by the names of a hub, which has none for detectors
    CLASSIFIER.format: "image-classification",
    MULTI_LABEL.format: "image-classification",
}
USES = {
    CLASSIFIER.format: "assigning images to the classes below",
    MULTI_LABEL.format: "finding which of the labels below apply to an image",
    DETECTOR.format: "flagging images that differ from the normal ones that it was fitted to",
}
LIMITS = (
    "The figures hold for images like those that it was fitted and evaluated on.",
    "On other images, probabilities and sets are not guaranteed.",
    "An image of another class gets a name, too; the unknown flag catches some of them, not all.",
    "Not assessed for decisions about people, for safety, or for fairness between groups.",
)
KINDS = (CLASSIFIER, MULTI_LABEL, DETECTOR)


def find_kind(folder: Path) -> FolderKind:
    """Return the type of model in a folder; that of classifiers if there is none."""
    found = model_folder.read_format(folder)
    return next((kind for kind in KINDS if kind.format == found), CLASSIFIER)


def write_card(
    folder: Path, *, license_name: str = "", export: Mapping[str, Any] | None = None
) -> str:
    """Return the card of a model folder as Markdown with a YAML head, as hubs read it.

    Args:
        folder: The model folder.
        license_name: Licence of the model, as the hub calls it; "" is not stated.
        export: What `ilk export` reported of an exported file.

    Raises:
        ArtifactError: The folder holds no model, or was altered.
    """
    kind = find_kind(folder)
    _, entries = model_folder.read(folder, kind)
    with model_folder.report_damage(folder):
        counts = Counter(row.label for row in read_trained_rows(folder) if row.label)
        sections = [
            _write_head(kind, license_name),
            f"# {_escape(folder.absolute().name)}",
            _write_use(kind, entries),
            _write_data(entries, counts),
            _write_evaluation(entries),
            _write_trust(entries),
            *([_write_export(export)] if export else []),
            _write_use_code(kind),
            _write_origin(entries, license_name),
        ]
    return "\n\n".join(sections) + "\n"


def _write_head(kind: FolderKind, license_name: str) -> str:
    lines = ["---", "library_name: ilk"]
    if license_name:
        lines.append(f"license: {_quote(license_name)}")
    if kind.format in TASKS:
        lines.append(f"pipeline_tag: {TASKS[kind.format]}")
    lines += ["tags:", "- ilk", *([f"- {TASKS[kind.format]}"] if kind.format in TASKS else [])]
    if kind is CLASSIFIER:
        lines += ["- calibrated", "- conformal-prediction", "- out-of-distribution-detection"]
        lines += ["metrics:", "- accuracy"]
    else:
        lines += ["- anomaly-detection"] if kind is DETECTOR else ["- multi-label"]
    lines.append("---")
    return "\n".join(lines)


def _write_use(kind: FolderKind, entries: Mapping[str, Any]) -> str:
    limits = "\n".join(f"- {limit}" for limit in LIMITS)
    return (
        f"An `{kind.format}` for {USES[kind.format]}: method "
        f"`{_escape(entries.get('method') or NOT_STATED)}` on features of "
        f"`{_escape(entries['encoder']['name'])}`.\n\n## Intended use and limits\n\n"
        f"Intended use: {NOT_STATED} by its author.\n\n{limits}"
    )


def _write_data(entries: Mapping[str, Any], counts: Mapping[str, int]) -> str:
    data = entries.get("data") or {}
    lines = [
        "## Data",
        "",
        f"- training images: {_count(data.get('train'))}",
        f"- images held out for the evaluation: {_count(data.get('held_out'))}",
        f"- source and licence of the images: {NOT_STATED}",
    ]
    classes: Sequence[str] = entries.get("classes") or ()
    if classes:
        lines += ["", f"{len(classes):,} classes:", "", "| class | training images |", "|---|---|"]
        for name in classes[:MAX_CLASSES]:
            count = f"{counts[name]:,}" if counts.get(name) else NOT_STATED
            lines.append(f"| {_escape(name)} | {count} |")
        if len(classes) > MAX_CLASSES:
            lines += ["", f"and {len(classes) - MAX_CLASSES:,} more."]
    return "\n".join(lines)


def _write_evaluation(entries: Mapping[str, Any]) -> str:
    metrics = entries.get("metrics") or {}
    result = metrics.get("evaluation")
    if not result:
        return f"## Evaluation\n\nAccuracy: {NOT_STATED}; no labelled image could be held out."
    lines = ["## Evaluation", "", f"On {metrics.get('evaluated_on') or NOT_STATED}:", ""]
    if isinstance(result.get("n"), int):
        lines.append(f"- images: {result['n']:,}")
    names = {
        "accuracy": "accuracy",
        "macro_accuracy": "mean accuracy over classes",
        "log_loss": "log loss, in nats",
        "calibration_error": "expected calibration error",
        "mean_average_precision": "mean average precision",
    }
    lines += [f"- {text}: {_format(result[key])}" for key, text in names.items() if key in result]
    if metrics.get("corrected_accuracy"):
        corrected = _format(metrics["corrected_accuracy"])
        lines.append(f"- accuracy corrected for choosing among candidates: {corrected}")
    return "\n".join(lines)


def _write_trust(entries: Mapping[str, Any]) -> str:
    parts, metrics = entries["parts"], entries.get("metrics") or {}
    result = metrics.get("evaluation") or {}
    lines = ["## Calibration, sets and unknown images", ""]
    calibration = parts.get("calibration", {})
    if "temperature" in calibration:
        lines.append(
            f"- probabilities: temperature {calibration['temperature']:.3g}, fitted to "
            f"{calibration.get('n_rows', 0):,} images that the scoring model had not seen"
        )
    conformal = parts.get("conformal", {})
    if "level" in conformal:
        lines.append(
            f"- sets: contain the true class with probability {conformal['level']:.3g} for images "
            f"like those of the fit; on the evaluated images {_format(result.get('coverage'))}, "
            f"with {_format(result.get('mean_set_size'))} classes on average"
        )
    detector = parts.get("ood_detector", {})
    if "false_alarm" in detector:
        lines.append(
            f"- unknown: flags at most {detector['false_alarm']:.3g} of the images of known "
            f"classes; on the evaluated images {_format(result.get('unknown_rate'))}. How many "
            f"images of other classes it flags: {NOT_STATED}"
        )
    return "\n".join(lines if len(lines) > 2 else [*lines, NOT_STATED])


def _write_export(export: Mapping[str, Any]) -> str:
    parity = export["parity"]
    size = f"{export['bytes'] / 1e6:,.1f} MB, SHA-256 `{export['sha256']}`"
    compared = (
        f"compared with the model on {parity['n_images']:,} images: {parity['different_labels']} "
        f"names, {parity['different_sets']} sets and {parity['different_unknown']} unknown flags "
        f"differ; probabilities by at most {parity['max_probability_difference']:.1g}"
    )
    name = _escape(Path(export["path"]).name)
    lines = ["## Exported file", "", f"- `{name}`, {size}", f"- {compared}"]
    lines += [f"- {_escape(note)}" for note in (export.get("int8") or {}).get("notes", ())]
    return "\n".join(lines)


def _write_use_code(kind: FolderKind) -> str:
    command = "ilk detect score" if kind is DETECTOR else "ilk predict"
    return (
        "## How to use it\n\n```sh\npip install ilk\nilk from-hub ORG/NAME --out model\n"
        f"{command} model photo.jpg\n```\n\n"
        "The weights are safetensors, and nothing is unpickled. They hold statistics and features "
        "of training images, but no pixels."
    )


def _write_origin(entries: Mapping[str, Any], license_name: str) -> str:
    names = [part["name"] for part in entries["encoder"].get("parts") or [entries["encoder"]]]
    lines = ["## Origin", "", f"- licence: {_escape(license_name or NOT_STATED)}"]
    for name in dict.fromkeys(names):
        credit = describe_weights(name).removeprefix(f"{name}: ")
        lines.append(f"- encoder `{_escape(name)}`: {_escape(credit or NOT_STATED)}")
    versions = {k: v for k, v in (entries.get("versions") or {}).items() if v}
    shown = ", ".join(f"{name} {versions[name]}" for name in ("ilk", "torch") if name in versions)
    lines.append(f"- fitted with: {_escape(shown or NOT_STATED)}")
    lines.append(f"- digest of the model: `{entries['digest']}`")
    notes = [f"- {_escape(note)}" for note in entries.get("notes") or ()]
    return "\n".join([*lines, *(["", "Notes of the fit:", "", *notes] if notes else [])])


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else NOT_STATED


def _format(value: Any) -> str:
    """Return a number, or one with its interval, for people."""
    if isinstance(value, Mapping) and isinstance(value.get("value"), int | float):
        text = f"{value['value']:.3f}"
        if isinstance(value.get("low"), int | float) and isinstance(value.get("high"), int | float):
            level = 100 * float(value.get("level", 0.95))
            text += f" ({level:.0f} % interval {value['low']:.3f} to {value['high']:.3f})"
        return text
    return f"{value:.3f}" if isinstance(value, int | float) else NOT_STATED


def _quote(text: str) -> str:
    """Return text as a YAML string, which a JSON string is."""
    return json.dumps(text)


def _escape(text: Any) -> str:
    """Return text on one line in which Markdown sees no tables, code, links or HTML."""
    return re.sub(r"([\\`|*_\[\]<>#])", r"\\\1", " ".join(str(text).split()))
