"""`python -m tools.docs [ROOT]` writes the generated pages of the repository at ROOT."""

import sys
from pathlib import Path

from tools.docs.generate import write_pages

for page in write_pages(Path(sys.argv[1] if len(sys.argv) > 1 else ".")):
    print(page)
