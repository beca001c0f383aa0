"""Files beside a saved model, when the model is updated after the fit.

The report and the leaderboard remain those of the fit; a section at the head of the report lists
later updates. Added rows are appended to the intake, so that no image is added twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from ilk.artifacts import model_folder
from ilk.core.errors import ArtifactError
from ilk.core.plain_json import encode_json
from ilk.core.regular_file import read_regular_file
from ilk.images import Images, Row
from ilk.images.duplicates.same_content import SUFFIX, describe_copy

SIDE_FILES = ("leaderboard.json", "suspects.csv")
INTAKE, REPORT = "intake.json", "report.html"
SECTION_START = (
    '<section id="since" aria-labelledby="since-h">\n<h2 id="since-h">Updates after the fit</h2>\n'
)
SECTION_NOTE = "<p>The rest of this page describes the model as it was fitted.</p>\n"
FIRST_LINK, SECTION_LINK = (
    '<li><a href="#summary">',
    '<li><a href="#since">Updates after the fit</a></li>\n',
)
INSERTION_POINT = re.compile(r"<section id=|</main>|</body>")


@dataclass(frozen=True)
class SideFiles:
    """The files beside a model, read before it is updated.

    Attributes:
        folder: The model folder.
        digest: Digest of the model, to detect changes.
        files: Contents of the leaderboard and the label errors.
        report: The report; None if there is none.
        intake: The images that the model was fitted or evaluated on; None if not recorded.
        previous_additions: Class by digest of the images of the last extension, as recorded in the
            model itself: the intake is written later, and a run may have stopped in between.
    """

    folder: Path
    digest: str
    files: dict[str, bytes]
    report: str | None
    intake: Images | None
    previous_additions: dict[str, str]

    @classmethod
    def read(cls, folder: Path, previous_additions: Mapping[str, str] | None = None) -> SideFiles:
        """Read the files in `folder`.

        Args:
            folder: The model folder.
            previous_additions: Class by digest of the images of the last extension.

        Raises:
            ArtifactError: If the intake is invalid or a file cannot be read.
        """
        try:
            contents = {
                name: (folder / name).read_bytes()
                for name in (*SIDE_FILES, REPORT, INTAKE)
                if (folder / name).is_file()
            }
            intake = contents.pop(INTAKE, None)
            images = None if intake is None else Images.from_json(json.loads(intake))
        except (OSError, ValueError, RecursionError, ArtifactError) as error:
            raise ArtifactError(
                f"{folder / INTAKE} or another file beside the model cannot be read ({error}); fit "
                "the model again, or remove the damaged file"
            ) from None
        report = contents.pop(REPORT, None)
        page = None if report is None else report.decode("utf-8", "surrogateescape")
        return cls(
            folder,
            model_folder.read_digest(folder),
            contents,
            page,
            images,
            dict(previous_additions or {}),
        )

    @property
    def known_rows(self) -> dict[str, Row]:
        """The images that the model was fitted or evaluated on, by digest."""
        rows = self.intake.used if self.intake else ()
        intake_rows = {row.digest: row for row in rows if row.label is not None}
        late_rows = {
            d: Row("an image of the last extension", name, digest=d)
            for d, name in self.previous_additions.items()
        }
        return late_rows | intake_rows

    def merge_additions(self, rows: Sequence[Row]) -> dict[str, str]:
        """Return class by digest of `rows` and of earlier additions missing from the intake."""
        intake_digests = {row.digest for row in self.intake.rows} if self.intake else set[str]()
        additions = {
            digest: name
            for digest, name in self.previous_additions.items()
            if digest not in intake_digests
        }
        return additions | {row.digest: str(row.label) for row in rows}

    def check_unchanged(self) -> None:
        """Raise ArtefactError if another command has written the model since."""
        if model_folder.read_digest(self.folder) != self.digest:
            raise ArtifactError(
                f"{self.folder} was changed by another command in the meantime; nothing was "
                "written; run this command again"
            )

    def render(self, message: str, new_rows: Sequence[Row] = ()) -> dict[str, bytes]:
        """Return the contents of the files, by name, with the update appended.

        Args:
            message: Description of the update, in sentences.
            new_rows: Rows of the added images, with absolute paths.
        """
        contents = dict(self.files)
        if self.report is not None:
            page = insert_note(self.report, message)
            contents[REPORT] = page.encode("utf-8", "surrogateescape")
        if self.intake is not None:
            extended = replace(self.intake, rows=(*self.intake.rows, *new_rows))
            contents[INTAKE] = encode_json(extended.to_json())
        return contents


def read_trained_rows(folder: Path) -> list[Row]:
    """Return the images that a model was fitted to, as far as its folder records them.

    The held-out split is excluded: test, or val if there is no test split.
    """
    try:
        rows = Images.from_json(json.loads(read_regular_file(folder / INTAKE))).used
    except (OSError, ValueError, RecursionError, ArtifactError):
        return []
    held_out_split = "test" if any(row.split == "test" for row in rows) else "val"
    return [row for row in rows if row.split != held_out_split]


def count_known(
    rows: Iterable[Row], trained: Iterable[Row], previous_additions: Iterable[str]
) -> int:
    """Return how many rows have the bytes or the pixels of a labelled training image.

    Args:
        rows: Images.
        trained: Those that the model was fitted to.
        previous_additions: Digests of the images of the last extension.
    """
    labelled = [row for row in trained if row.label is not None]
    known = {digest for row in labelled for digest in (row.digest, row.pixel_digest)}
    known = known - {""} | set(previous_additions)
    return sum(row.digest in known or row.pixel_digest in known for row in rows)


def refuse_known(images: Images, known_rows: Mapping[str, Row]) -> Images:
    """Return `images` with known ones refused; each refused row states the known image."""
    return images.refuse(
        {
            row.digest: _describe_known(row, known)
            for row in images.used
            if (known := known_rows.get(row.digest)) is not None
        }
    )


def refuse_known_pixels(images: Images, known_rows: Mapping[str, Row]) -> Images:
    """Return `images` with those refused whose pixels are those of a known image."""
    by_pixels = {row.pixel_digest: row for row in known_rows.values() if row.pixel_digest}
    return images.refuse(
        {
            row.digest: _describe_known(row, known, SUFFIX["pixels"])
            for row in images.used
            if (known := by_pixels.get(row.pixel_digest)) is not None
        }
    )


def _describe_known(row: Row, known: Row, suffix: str = "") -> tuple[str, str]:
    """Return reason and detail of a row whose content is that of a known image."""
    if known.split != "test" and known.label != row.label:
        detail = f"as {row.label}, but {known.path} as {known.label}"
        return "same content under two labels", detail + suffix
    reason, detail = describe_copy(row, known, suffix)
    kind = "test" if known.split == "test" else "training"
    return reason, f"{detail}, a {kind} image of the model"


def insert_note(page: str, message: str) -> str:
    """Return a report with `message` as a further paragraph in the section of updates."""
    text = re.sub(r"(?<=\d)%", "\u202f%", message)  # as on the rest of the page
    paragraph = f"<p>{escape(text)}</p>\n"
    if SECTION_LINK not in page:
        page = page.replace(FIRST_LINK, SECTION_LINK + FIRST_LINK, 1)
    if SECTION_START in page:
        head, tail = page.split(SECTION_START, 1)
        inner, rest = tail.split("</section>", 1)
        return f"{head}{SECTION_START}{inner}{paragraph}</section>{rest}"
    match = INSERTION_POINT.search(page)
    position = match.start() if match else len(page)
    return f"{page[:position]}{SECTION_START}{SECTION_NOTE}{paragraph}</section>\n{page[position:]}"
