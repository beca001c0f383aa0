"""What lies in a model folder beside the model, when the model changes after it was fitted.

The report and the leaderboard stay those of the fit; a section at the head of the report tells what
has happened since. The intake gets the rows that were added, so that none is added twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
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
FIRST = re.compile(r"<section id=|</main>|</body>")


def learnt(folder: Path) -> dict[str, Row]:
    """The images that a model was fitted on or judged by, by content; none where it tells none."""
    try:
        images = Images.from_json(json.loads((folder / INTAKE).read_bytes()))
    except (OSError, ValueError, ArtefactError):
        return {}
    return {row.digest: row for row in images.used if row.label is not None}


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


def carry(source: Path, out: Path, said: str, added: Sequence[Row] = ()) -> None:
    """Bring report, leaderboard, suspects and intake from `source` to `out`, with what is new.

    Args:
        said: What has happened, in sentences.
        added: Rows of images that were learnt since, with paths that are found from anywhere.

    Raises:
        ArtefactError: The intake is no intake of ilk.
        OutputError: The folder cannot be written.
    """
    for name in BESIDE:
        if source != out and (source / name).is_file():
            artefact.write_file(out / name, (source / name).read_bytes())
    if (source / REPORT).is_file():
        page = (source / REPORT).read_text("utf-8", "surrogateescape")
        artefact.write_file(out / REPORT, noted(page, said).encode("utf-8", "surrogateescape"))
    if (source / INTAKE).is_file():
        images = Images.from_json(json.loads((source / INTAKE).read_bytes()))
        grown = replace(images, rows=(*images.rows, *added))
        artefact.write_file(out / INTAKE, artefact.json_bytes(grown.to_json()))


def noted(page: str, said: str) -> str:
    """A report with one paragraph more in the section that tells what has happened since."""
    paragraph = f"<p>{escape(said)}</p>\n"
    if SINCE in page:
        head, tail = page.split(SINCE, 1)
        inner, rest = tail.split("</section>", 1)
        return f"{head}{SINCE}{inner}{paragraph}</section>{rest}"
    at = FIRST.search(page)
    place = at.start() if at else len(page)
    return f"{page[:place]}{SINCE}{paragraph}</section>\n{page[place:]}"
