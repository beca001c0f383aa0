"""docs/methods.md is what the method files say today."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from ilk.docs import methods_page
from ilk.methods import available

PAGE = Path(__file__).parents[1] / "docs" / "methods.md"


def test_the_committed_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == methods_page(), "run python -m ilk.docs"


def test_every_method_has_its_sentence_its_paper_and_its_fields():
    entries = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", methods_page(), re.M | re.S))
    assert set(entries) == set(available())
    for name, kind in available().items():
        assert re.search(r"arXiv|doi:", entries[name])
        for f in fields(kind):
            assert re.search(rf"^\| `{f.name}` \| `{re.escape(repr(f.default))}` \| \S", entries[name], re.M)


def test_the_command_writes_it(tmp_path):
    out = tmp_path / "new" / "page.md"
    subprocess.run([sys.executable, "-m", "ilk.docs", str(out)], check=True, capture_output=True)
    assert out.read_text(encoding="utf-8") == methods_page()
