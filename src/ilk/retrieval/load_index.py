"""Open the index in a folder; every file is compared with what was written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ilk.core.errors import ArtifactError, IlkError
from ilk.core.folder_transaction import finish_commit
from ilk.core.regular_file import read_regular_file
from ilk.core.space import FeatureSpace
from ilk.retrieval.entries import Entries
from ilk.retrieval.file_fingerprints import check_files
from ilk.retrieval.index import Index
from ilk.retrieval.index_folder import read_description
from ilk.retrieval.kinds import parse_kind
from ilk.retrieval.vectors.projection import Projection


def open_index(folder: str | os.PathLike[str]) -> Index:
    """Return the index in a folder.

    Raises:
        ArtifactError: There is none, it was written by another version, or a file is missing, cut
            off or altered.
        Unavailable: Its kind needs a package that is not installed.
    """
    folder = Path(folder)
    finish_commit(folder)
    described = read_description(folder)
    check_files(folder, described["files"])
    try:
        from safetensors.numpy import load

        arrays = load(read_regular_file(folder / described["images"]))
        entries = Entries.from_arrays(arrays, described["next_id"])
        projection = None
        if "weight" in arrays:
            projection = Projection(arrays["centre"], arrays["weight"])
        space = FeatureSpace(**described["space"])
        kind = parse_kind(described["kind"])
        dim = space.dim if projection is None else projection.weight.shape[1]
        deleted = np.array(entries.deleted, np.int64)
        vectors = kind.open(folder, dim, deleted)
        if not len(vectors) == len(entries) == described["n"]:
            raise ValueError(f"it has {len(vectors)} rows for {len(entries)} images")
    except IlkError:
        raise
    except Exception as error:  # safetensors has errors of its own
        why = " ".join(str(error).split())[:200]
        raise ArtifactError(f"{folder} is damaged ({why}); build the index again") from None
    ranges = {name: (low, high) for name, (low, high) in described["value_ranges"].items()}
    return Index(
        space,
        kind,
        vectors,
        entries,
        projection,
        described["encoder"],
        dict(described["facts"]),
        folder,
        described["source"],
        ranges,
    )
