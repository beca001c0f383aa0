"""docs/methods.md is what the method files say today."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from ilk.bench._family import Claim, table
from ilk.docs import methods_page
from ilk.methods import available
from ilk.pages.families import results_page
from ilk.pages.measured import filled, results
from ilk.pages.overview import labels_block

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "methods.md"


def page():
    return methods_page(results(ROOT / "bench"))


def test_the_committed_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m ilk.docs"


def test_every_method_has_its_sentence_its_paper_and_its_fields():
    entries = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page(), re.M | re.S))
    assert set(entries) == set(available())
    for name, kind in available().items():
        assert re.search(r"arXiv|doi:", entries[name])
        for f in fields(kind):
            assert re.search(
                rf"^\| `{f.name}` \| `{re.escape(repr(f.default))}` \| \S", entries[name], re.M
            )


def test_every_generated_page_is_what_the_command_makes(tmp_path):
    for part in ("README.md", "bench"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    done = subprocess.run(
        [sys.executable, "-m", "ilk.docs", str(tmp_path)], check=True, capture_output=True
    )
    assert b"benchmarks.md" in done.stdout
    for page in ("README.md", "docs/methods.md", "docs/benchmarks.md", "docs/results.md"):
        made, kept = ((home / page).read_text(encoding="utf-8") for home in (tmp_path, ROOT))
        assert made == kept, f"{page} is old; run make docs"


def test_a_figure_in_the_readme_is_the_one_that_was_measured():
    rows = json.loads((ROOT / "bench" / "digits.json").read_text())["result"]["rows"]
    seen = [row["test_accuracy"] for row in rows if not row["trouble"]]
    assert f"{sum(seen) / len(seen):.3f} ±" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_page_without_the_place_is_refused():
    with pytest.raises(ValueError, match="no place for digits"):
        filled("# nothing here", {"digits": "x"})


def test_a_family_shows_its_scores_its_differences_and_its_verdicts():
    claim = Claim("teen", "methods/gda.py", "ours", "theirs")
    made = table("digits", "accuracy", {"ours": [0.9, 0.8], "theirs": [0.8, 0.7]}, [claim])
    machine = {"cpu": "one"}
    told = {"command": "ilk bench digits", "date": "2026-01-01", "machine": machine, "seconds": 1}
    found = {"digits": {**told, "result": {"tables": [made], "rows": 5}}}
    text = results_page(found)
    assert "| ours | 0.850 ± 0.635 |" in text
    assert "| `teen` | ours | theirs | 0.100 ± 0.000 | ahead |" in text
    assert "| rows | 5 |" in text
    assert "| `teen` | `methods/gda.py` | digits | 1 | 0 | 0 |" in methods_page(found)
    entry = methods_page(found).partition("## GDA\n")[2].partition("\n## ")[0]
    assert "| digits | accuracy | ours | theirs | 0.100 ± 0.000 | ahead |" in entry


def test_a_line_of_the_readme_whose_comparison_is_gone_is_an_error():
    found = results(ROOT / "bench")
    block = labels_block(found)
    told = next(t for t in found["add"]["result"]["tables"] if t["where"] == "CIFAR-10")
    grown = next(s for s in told["scores"] if s["method"] == "GDA() grown")
    assert f"| `ilk add` | {grown['score']['mean']:.3f} ±" in block
    told["claims"].clear()
    with pytest.raises(ValueError, match=r"add does not compare GDA\(\) grown"):
        labels_block(found)
