"""Tables and verdicts of families of methods, from the JSON files that `ilk bench` wrote.

A benchmark belongs to a family when its result holds `tables` as `ilk.bench._family.table` makes
them. `docs/results.md` shows those tables; `docs/methods.md` shows beside each method what its
comparisons came to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ilk.pages.markdown import results_text, spread_text, table_text

Found = dict[str, dict[str, Any]]

HEAD = """# Results

Made by `make docs` from the JSON files in `bench/`; change those, not this. Scores are means with
the half width of their 95 % interval over seeds. A difference is paired, seed by seed, and positive
where the method is better than what it is compared with; "ahead" and "behind" say that its interval
leaves out 0. Nothing was chosen on test labels."""


def is_family(told: dict[str, Any]) -> bool:
    """Whether a benchmark's file holds tables of a family."""
    return bool(told["result"].get("tables"))


def results_page(found: Found) -> str:
    """Every family: its question, its tables, and the comparisons that they settle."""
    from ilk.bench import question

    parts = [HEAD]
    for name, told in found.items():
        if not is_family(told):
            continue
        result = told["result"]
        parts += [f"## {name}", question(name), _how(told)]
        for table in result["tables"]:
            parts += _table(table)
        rest = {key: value for key, value in result.items() if key not in ("tables", "plots")}
        parts += results_text(rest)
        parts += [f"![{p['title']}](plots/{p['file']})" for p in result.get("plots", ())]
    return "\n\n".join(parts) + "\n"


def _how(told: dict[str, Any]) -> str:
    return (
        f"`{told['command']}`, {told['date'][:10]}, {told['machine']['cpu']}; "
        f"{told['seconds']:.0f} s in all."
    )


def _table(table: dict[str, Any]) -> Iterator[str]:
    yield f"### {table['where']}: {table['metric']}, {table['seeds']} seeds"
    rows = [(row["method"], spread_text(row["score"])) for row in table["scores"]]
    yield table_text(("", f"{table['metric']} ({table['better']} is better)"), rows)
    claims = [
        (f"`{c['row']}`", c["method"], c["against"], spread_text(c["difference"]), c["verdict"])
        for c in table["claims"]
    ]
    if claims:
        yield table_text(("row", "method", "against", "difference", "verdict"), claims)


def claims(found: Found) -> Iterator[dict[str, Any]]:
    """Every settled comparison, with where it was made and in which benchmark."""
    for name, told in found.items():
        for table in told["result"].get("tables") or ():
            for claim in table["claims"]:
                yield {**claim, "where": table["where"], "metric": table["metric"], "bench": name}


def verdicts_table(found: Found) -> str:
    """Catalogue row by catalogue row: its file, and how its comparisons came out."""
    counts: dict[tuple[str, str, str], Counter[str]] = {}
    for claim in claims(found):
        key = (claim["row"], claim["file"], claim["bench"])
        counts.setdefault(key, Counter())[claim["verdict"]] += 1
    order = ("ahead", "not told apart", "behind")
    rows = [
        (f"`{row}`", f"`{file}`", bench, *(str(count[verdict]) for verdict in order))
        for (row, file, bench), count in sorted(counts.items())
    ]
    return table_text(("catalogue row", "file", "benchmark", *order), rows)


def method_claims(found: Found, file: str) -> str:
    """The comparisons of the method in `file`, such as `methods/gda.py`; "" where there is none."""
    rows = [
        (
            c["where"],
            c["metric"],
            c["method"],
            c["against"],
            spread_text(c["difference"]),
            c["verdict"],
        )
        for c in claims(found)
        if c["file"] == file
    ]
    head = ("where", "metric", "method", "against", "difference", "verdict")
    return table_text(head, rows) if rows else ""
