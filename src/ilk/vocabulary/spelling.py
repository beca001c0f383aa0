"""Compare names whatever their case, spacing, accents and number.

Plurals follow WordNet's rules of detachment for nouns (its manual page morphy(7WN)) and its list of
irregular plurals, cut down to words of the vocabulary.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.resources import files

IRREGULAR_FILE = "irregular_plurals.tsv"
PLURAL_RULES = (
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
    ("s", ""),
)


def to_key(name: str) -> str:
    """Return the letters and digits of a name, without accents, in lower case."""
    decomposed = unicodedata.normalize("NFKD", name).casefold()
    return "".join(c for c in decomposed if c.isalnum())


def apply_plural_rules(key: str) -> list[str]:
    """Return what a regular plural may be the plural of; empty for a word without its ending."""
    return [
        key.removesuffix(ending) + singular
        for ending, singular in PLURAL_RULES
        if key.endswith(ending) and len(key) > len(ending) + 1
    ]


def list_keys(name: str) -> list[str]:
    """Return the keys under which a name may be listed: as it is, then as a plural."""
    words = name.replace("_", " ").replace("-", " ").casefold().split()
    keys = [to_key(name)]
    if words and (singular := _read_irregular().get(words[-1])):
        keys.append(to_key(" ".join((*words[:-1], singular))))
    return list(dict.fromkeys((*keys, *apply_plural_rules(keys[0]))))


@cache
def _read_irregular() -> dict[str, str]:
    text = (files("ilk.vocabulary") / IRREGULAR_FILE).read_text(encoding="utf-8")
    return dict(line.split("\t") for line in text.splitlines())
