"""The generated pages are up to date and show what the docstrings and results say."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks.claims import Claim, make_table
from ilk.detectors import list_detectors
from ilk.discovery import list_discovery_methods
from ilk.methods import list_methods
from ilk.peft import list_wrappers
from tools.docs.benchmark_pages import fill_blocks, load_records
from tools.docs.claims_pages import build_results_page
from tools.docs.methods_page import build_methods_page
from tools.docs.overview import build_labels_block

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "methods.md"


PAGES = (
    "README.md",
    *(f"docs/{name}" for name in ("methods.md", "benchmarks.md", "results.md", "architecture.svg")),
)


def page():
    return build_methods_page(load_records(ROOT / "benchmarks" / "results"))


def test_the_committed_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tools.docs"


def test_every_method_has_its_sentence_its_paper_and_its_fields():
    entries = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##+ |\Z)", page(), re.M | re.S))
    methods = {**list_methods(), **list_detectors(), **list_discovery_methods(), **list_wrappers()}
    assert set(entries) == set(methods)
    for name, kind in methods.items():
        assert f"File: `src/{kind.__module__.replace('.', '/')}.py`." in entries[name]
        assert re.search(r"arXiv|doi:", entries[name])
        for f in fields(kind):
            assert re.search(
                rf"^\| `{f.name}` \| `{re.escape(repr(f.default))}` \| \S", entries[name], re.M
            )


def test_every_generated_page_is_what_the_command_makes(tmp_path):
    for part in ("README.md", "benchmarks/results"):
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    process = subprocess.run(
        [sys.executable, "-m", "tools.docs", str(tmp_path)],
        check=True,
        capture_output=True,
    )
    assert b"benchmarks.md" in process.stdout
    for page in PAGES:
        new, committed = ((home / page).read_text(encoding="utf-8") for home in (tmp_path, ROOT))
        assert new == committed, f"{page} is outdated; run make docs"


def test_a_figure_in_the_readme_is_the_one_that_was_measured():
    rows = json.loads((ROOT / "benchmarks" / "results" / "digits.json").read_text())["result"][
        "rows"
    ]
    accuracies = [row["test_accuracy"] for row in rows if not row["faults"]]
    assert f"{sum(accuracies) / len(accuracies):.3f} ±" in (ROOT / "README.md").read_text(
        encoding="utf-8"
    )


def test_a_page_without_the_block_is_refused():
    with pytest.raises(ValueError, match="no block for digits"):
        fill_blocks("# nothing here", {"digits": "x"})


def test_comparisons_show_scores_differences_and_verdicts():
    claim = Claim("teen", "methods/gda.py", "ours", "theirs")
    table = make_table("digits", "accuracy", {"ours": [0.9, 0.8], "theirs": [0.8, 0.7]}, [claim])
    machine = {"cpu": "one"}
    provenance = {
        "command": "ilk bench digits",
        "date": "2026-01-01",
        "machine": machine,
        "seconds": 1,
    }
    records = {"digits": {**provenance, "result": {"tables": [table], "rows": 5}}}
    text = build_results_page(records)
    assert "| ours | 0.850 ± 0.635 |" in text
    assert "| `teen` | ours | theirs | 0.100 ± 0.000 | ahead |" in text
    assert "| rows | 5 |" in text
    assert "| `teen` | `methods/gda.py` | digits | 1 | 0 | 0 |" in build_methods_page(records)
    entry = build_methods_page(records).partition("### GDA\n")[2].partition("\n### ")[0]
    assert "| digits | accuracy | ours | theirs | 0.100 ± 0.000 | ahead |" in entry


def test_wrappers_say_whether_they_merge_and_where_they_start():
    page = build_methods_page({})
    entry = page.partition("### LoRA\n")[2].partition("\n### ")[0]
    assert "can be merged into the network's weights; starts at the pretrained outputs" in entry
    assert "| `rank` | `8` |" in entry
    assert "| [SHERL](#sherl) | `peft/wrappers/sherl.py` |" in page
    entry = page.partition("### SHERL\n")[2].partition("\n### ")[0]
    assert "cannot be merged into the network's weights; starts at other outputs" in entry


def test_a_line_of_the_readme_without_its_comparison_is_an_error():
    records = load_records(ROOT / "benchmarks" / "results")
    block = build_labels_block(records)
    table = next(t for t in records["add"]["result"]["tables"] if t["setting"] == "CIFAR-10")
    row = next(s for s in table["scores"] if s["method"] == "GDA() extended")
    assert f"| `ilk add` | {row['score']['mean']:.3f} ±" in block
    table["claims"].clear()
    with pytest.raises(ValueError, match=r"add does not compare GDA\(\) extended"):
        build_labels_block(records)
