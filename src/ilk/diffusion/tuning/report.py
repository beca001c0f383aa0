"""What tuning changed: accuracy, log loss, levels, drawing and time, before and after."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

from ilk.core.digested_json import check_digest, parse_json, write_json
from ilk.core.errors import ArtifactError
from ilk.core.regular_file import read_regular_file
from ilk.core.typed_values import check_type
from ilk.diffusion.checkpoint.model_paths import TUNING_REPORT
from ilk.diffusion.denoiser.companions import check_network, name_network
from ilk.diffusion.tuning.assessment import Assessment, DrawingQuality, LevelResult

VERSION = 1


@dataclass(frozen=True)
class TuningReport:
    """A network before and after tuning.

    Attributes:
        objective: Name of the objective.
        images: Number of images tuned on.
        held_out: Number of images, held out, that both were assessed on.
        max_levels: Most noise levels of the tuned classifier.
        before: The network tuning began with.
        after: The tuned one.
    """

    objective: str
    images: int
    held_out: int
    max_levels: int
    before: Assessment | None
    after: Assessment


class _Entries(TypedDict):
    """Entries of the file."""

    version: int
    objective: str
    images: int
    held_out: int
    max_levels: int
    before: Assessment | None
    after: Assessment
    network: str
    digest: str


def write(report: TuningReport, folder: Path) -> None:
    """Write the report to the folder of the tuned network, which makes that one the classifier.

    Raises:
        OutputError: It cannot be written.
    """
    fields = {"version": VERSION, **asdict(report), **name_network(folder)}
    write_json(folder / TUNING_REPORT, fields)


def read(folder: Path) -> TuningReport:
    """Read the report in `folder`.

    Raises:
        ArtifactError: There is none, it is damaged, or it belongs to another network.
    """
    path = folder / TUNING_REPORT
    try:
        fields = parse_json(read_regular_file(path), path)
        check_digest(fields, path)
        check_network(fields, path)
        check_type(fields, _Entries, "")
        if fields["version"] != VERSION:
            raise ArtifactError(f"{path} has another format version; tune again")
        before = fields["before"]
        return TuningReport(
            fields["objective"],
            fields["images"],
            fields["held_out"],
            fields["max_levels"],
            None if before is None else _read_assessment(before),
            _read_assessment(fields["after"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}; tune again") from error


def _read_assessment(fields: dict[str, object]) -> Assessment:
    results = fields["results"]
    assert isinstance(results, list), "checked"
    rows = tuple(LevelResult(**row) for row in results)
    drawing = fields["drawing"]
    quality = DrawingQuality(**drawing) if isinstance(drawing, dict) else None
    return Assessment(**{**fields, "results": rows, "drawing": quality})  # type: ignore[arg-type]
