"""What lies in a model folder beside the model, when the model changes after it was fitted.

The report and the leaderboard stay those of the fit; a section at the head of the report tells what
has happened since. The intake gets the rows that were added, so that none is added twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from ilk import artefact
from ilk.errors import ArtefactError
from ilk.images import Images, Row

BESIDE = ("leaderboard.json", "suspects.csv")
INTAKE, REPORT = "intake.json", "report.html"
SINCE = (
    '<section id="since" aria-labelledby="since-h">\n<h2 id="since-h">Since it was fitted</h2>\n'
)
REST = "<p>The rest of this page tells of the model as it was fitted.</p>\n"
LINKS, LINK = '<li><a href="#words">', '<li><a href="#since">Since it was fitted</a></li>\n'
FIRST = re.compile(r"<section id=|</main>|</body>")


@dataclass(frozen=True)
class Beside:
    """What lies beside the model in `folder`, read before any work is done.

    Attributes:
        folder: Where the model was opened.
        stamp: What tells it from any model that is written there later.
        files: Leaderboard and suspects, as they are.
        report: The page of evidence; None where there is none.
        intake: The images that it was fitted on or judged by; None where it tells none.
        last: Classes by content of the images that were added last, as the model itself tells: its
            intake is written after it, and a run may have been stopped between.
    """

    folder: Path
    stamp: str
    files: dict[str, bytes]
    report: str | None
    intake: Images | None
    last: dict[str, str]

    @classmethod
    def of(cls, folder: Path, last: Mapping[str, str] | None = None) -> Beside:
        """Read the folder; `last` is what the model says of images added last.

        Raises:
            ArtefactError: Its intake is no intake of ilk, or a file cannot be read.
        """
        try:
            held = {
                name: (folder / name).read_bytes()
                for name in (*BESIDE, REPORT, INTAKE)
                if (folder / name).is_file()
            }
            intake = held.pop(INTAKE, None)
            images = None if intake is None else Images.from_json(json.loads(intake))
        except (OSError, ValueError, ArtefactError) as error:
            raise ArtefactError(
                f"{folder / INTAKE} and what lies beside the model cannot be read ({error}); fit "
                "the model again, or take the damaged file away"
            ) from None
        report = held.pop(REPORT, None)
        page = None if report is None else report.decode("utf-8", "surrogateescape")
        return cls(folder, artefact.stamp(folder), held, page, images, dict(last or {}))

    @property
    def learnt(self) -> dict[str, Row]:
        """The images that the model was fitted on or judged by, by content."""
        rows = self.intake.used if self.intake else ()
        told = {row.digest: row for row in rows if row.label is not None}
        late = {d: Row("an image added last", name, digest=d) for d, name in self.last.items()}
        return late | told

    def last_added(self, rows: Sequence[Row]) -> dict[str, str]:
        """`last` for the model that learnt `rows` too, with what the intake does not know yet."""
        told = {row.digest for row in self.intake.rows} if self.intake else set[str]()
        late = {digest: name for digest, name in self.last.items() if digest not in told}
        return late | {row.digest: str(row.label) for row in rows}

    def unchanged(self) -> None:
        """Raise ArtefactError where another command has written the model since."""
        if artefact.stamp(self.folder) != self.stamp:
            raise ArtefactError(
                f"{self.folder} was changed by another command in the meantime; nothing was "
                "written: run this one again"
            )

    def carry(self, out: Path, said: str, added: Sequence[Row] = ()) -> None:
        """Bring all of it to `out`, with what is new.

        Args:
            out: The folder of the model that came of it, written already.
            said: What has happened, in sentences.
            added: Rows of images that were learnt since, with paths found from anywhere.

        Raises:
            OutputError: The folder cannot be written.
        """
        for name, content in self.files.items():
            artefact.write_file(out / name, content)
        if self.report is not None:
            page = noted(self.report, said).encode("utf-8", "surrogateescape")
            artefact.write_file(out / REPORT, page)
        if self.intake is not None:
            grown = replace(self.intake, rows=(*self.intake.rows, *added))
            artefact.write_file(out / INTAKE, artefact.json_bytes(grown.to_json()))


def fitted_on(folder: Path, last: Mapping[str, str]) -> set[str]:
    """Digests of the images that a model learnt from, as far as its folder tells.

    A held-out part is none of them: test, or val where there is no test.
    """
    try:
        rows = Images.from_json(json.loads((folder / INTAKE).read_bytes())).used
    except (OSError, ValueError, ArtefactError):
        return set(last)
    splits = {row.split for row in rows}
    held = "test" if "test" in splits else "val"
    return {row.digest for row in rows if row.label is not None and row.split != held} | set(last)


def known_before(images: Images, before: dict[str, Row]) -> Images:
    """`images` without what the model learnt or was judged by already; each row says which."""
    failures = {}
    for row in images.used:
        if (old := before.get(row.digest)) is None:
            continue
        if old.split == "test":
            failures[row.digest] = ("in both train and test", f"also {old.path}")
        elif old.label != row.label:
            told = f"as {row.label}, but {old.path} as {old.label}"
            failures[row.digest] = ("same content under two labels", told)
        else:
            failures[row.digest] = ("duplicate", f"of {old.path}")
    return images.refuse(failures)


def noted(page: str, said: str) -> str:
    """A report with one paragraph more in the section that tells what has happened since."""
    told = re.sub(r"(?<=\d)%", "\u202f%", said)  # as the page writes it
    paragraph = f"<p>{escape(told)}</p>\n"
    if LINK not in page:
        page = page.replace(LINKS, LINK + LINKS, 1)
    if SINCE in page:
        head, tail = page.split(SINCE, 1)
        inner, rest = tail.split("</section>", 1)
        return f"{head}{SINCE}{inner}{paragraph}</section>{rest}"
    at = FIRST.search(page)
    place = at.start() if at else len(page)
    return f"{page[:place]}{SINCE}{REST}{paragraph}</section>\n{page[place:]}"
