"""Make the data files of `ilk.vocabulary` from WordNet 3.0 and the list of ImageNet's classes.

    python -m tools.vocabulary --wordnet /usr/share/wordnet --classes imagenet_synsets.txt

WordNet's files are those of the Debian package `wordnet-base` (3.0; see its manual page wndb(5WN)
for their format). The list has one synset per line, `n` and the offset in `data.noun`, in the order
of the outputs of networks that were trained on ImageNet (ILSVRC 2012); timm ships it too.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from ilk.vocabulary.spelling import IRREGULAR_FILE, apply_plural_rules, to_key
from ilk.vocabulary.wordnet import SYNSETS_FILE

N_CLASSES = 1000
OUT = Path(__file__).parents[1] / "src" / "ilk" / "vocabulary"
HYPERNYM = "@"


@dataclass(frozen=True)
class Entry:
    """A line of `data.noun`: the words of a synset, and the synsets above it."""

    words: tuple[str, ...]
    parents: tuple[str, ...]


def read_entries(wordnet: Path) -> dict[str, Entry]:
    """Return all noun synsets by id."""
    entries = {}
    for line in (wordnet / "data.noun").read_text(encoding="latin-1").splitlines():
        if line.startswith(" "):  # the licence
            continue
        tokens = line.partition("|")[0].split()
        n_words = int(tokens[3], 16)
        words = tokens[4 : 4 + 2 * n_words : 2]
        pointers = tokens[5 + 2 * n_words :]
        parents = [
            f"n{pointers[i + 1]}"
            for i in range(0, len(pointers), 4)
            if pointers[i] == HYPERNYM and pointers[i + 2] == "n"
        ]
        entries[f"n{tokens[0]}"] = Entry(
            tuple(word.replace("_", " ") for word in words), tuple(parents)
        )
    return entries


def read_senses(wordnet: Path) -> dict[tuple[str, str], int]:
    """Return the number of each sense of a word, 1 for the most frequent, by word and synset."""
    senses = {}
    for line in (wordnet / "index.noun").read_text(encoding="latin-1").splitlines():
        if line.startswith(" "):
            continue
        tokens = line.split()
        for number, offset in enumerate(tokens[-int(tokens[2]) :], 1):
            senses[tokens[0].replace("_", " "), f"n{offset}"] = number
    return senses


def collect_ancestors(classes: list[str], entries: dict[str, Entry]) -> list[str]:
    """Return the classes and everything above them, classes first, then by id."""
    reached, pending = set(classes), list(classes)
    while pending:
        for parent in entries[pending.pop()].parents:
            if parent not in reached:
                reached.add(parent)
                pending.append(parent)
    return [*classes, *sorted(reached.difference(classes))]


def format_synsets(classes: list[str], wordnet: Path) -> str:
    """Return the table of synsets: id, ids of its parents, words; `#n` is a rarer sense."""
    entries, senses = read_entries(wordnet), read_senses(wordnet)
    lines = []
    for synset in collect_ancestors(classes, entries):
        entry = entries[synset]
        words = [
            word if (n := senses[word.lower(), synset]) == 1 else f"{word}#{n}"
            for word in entry.words
        ]
        lines.append(f"{synset}\t{' '.join(entry.parents)}\t{', '.join(words)}")
    return "\n".join(lines) + "\n"


def format_irregular(synsets: str, wordnet: Path) -> str:
    """Return the plurals of words in the table that no rule explains: plural, singular."""
    words = {
        word.partition("#")[0].lower()
        for line in synsets.splitlines()
        for word in line.split("\t")[2].split(", ")
    }
    words |= {word.split()[-1] for word in words}
    lines = []
    for line in (wordnet / "noun.exc").read_text(encoding="latin-1").splitlines():
        plural, singular, *_ = line.replace("_", " ").split(" ", 1) if " " in line else ("", "")
        is_regular = to_key(singular) in apply_plural_rules(to_key(plural))
        if singular in words and plural not in words and not is_regular:
            lines.append(f"{plural}\t{singular}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wordnet", type=Path, required=True)
    parser.add_argument("--classes", type=Path, required=True)
    arguments = parser.parse_args()
    classes = arguments.classes.read_text().split()
    if len(set(classes)) != N_CLASSES:
        parser.error(f"{arguments.classes} lists {len(set(classes))} synsets, not {N_CLASSES}")
    synsets = format_synsets(classes, arguments.wordnet)
    (OUT / SYNSETS_FILE).write_text(synsets, encoding="utf-8")
    irregular = format_irregular(synsets, arguments.wordnet)
    (OUT / IRREGULAR_FILE).write_text(irregular, encoding="utf-8")


if __name__ == "__main__":
    main()
