"""Features by content and feature space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ilk.core.data import Features
from ilk.core.errors import OutputError
from ilk.core.space import FeatureSpace
from ilk.store.content_tables import ContentTables
from ilk.store.database import iter_chunks, make_placeholders
from ilk.store.schema import compute_checksum


class Store(ContentTables):
    """Features by content. Safe to use from several threads and processes at once.

    Raises:
        OutputError: The file cannot be created or written, is full, or is not a store.
    """

    def _space_id(self, space: FeatureSpace) -> int | None:
        row = self._db.execute("SELECT id, dim FROM spaces WHERE key = ?", (space.key,)).fetchone()
        if row and row[1] != space.dim:
            raise OutputError(
                f"the store {self.path} holds {row[1]} features per row of {space.name}, not "
                f"{space.dim}: it is damaged; empty it: ilk store --clear"
            )
        return int(row[0]) if row else None

    def find_missing(self, space: FeatureSpace, digests: Iterable[str]) -> list[str]:
        """Return those of `digests` (hex, SHA-256) that `space` lacks, once each, in order.

        Damaged rows are deleted and count as missing.
        """
        unique = list(dict.fromkeys(digests))
        if space.parts:
            lacking = {d for part in space.parts for d in self.find_missing(part, unique)}
            return [d for d in unique if d in lacking]
        stored: set[str] = set()
        damaged: list[bytes] = []
        with self._translate_errors():
            space_id = self._space_id(space)
            if space_id is None:
                return unique
            for digest, value, checksum in self._iter_rows(space_id, unique):
                if is_intact(space, digest, value, checksum):
                    stored.add(digest.hex())
                else:
                    damaged.append(digest)
        if damaged:
            with self._transaction():
                self._db.executemany(
                    "DELETE FROM features WHERE space = ? AND digest = ?",
                    ((space_id, digest) for digest in damaged),
                )
        return [d for d in unique if d not in stored]

    def _iter_rows(self, space_id: int, digests: list[str]) -> Iterator[tuple[bytes, bytes, int]]:
        """Yield digest, values and checksum of the rows of `digests` that are stored."""
        for part in iter_chunks(digests):
            yield from self._db.execute(
                "SELECT digest, value, checksum FROM features "
                f"WHERE space = ? AND digest IN ({make_placeholders(part)})",
                (space_id, *map(bytes.fromhex, part)),
            )

    def put(self, space: FeatureSpace, digests: Sequence[str], values: Features) -> None:
        """Add rows `[n, dim]`, all or none; existing rows stay unchanged.

        Rows of several encoders side by side are stored under each of its parts.

        Raises:
            ValueError: The shape does not match.
            FloatingPointError: A value is not finite.
            OutputError: The store cannot be written.
        """
        block = np.ascontiguousarray(values, "<f4")
        if block.shape != (len(digests), space.dim):
            raise ValueError(f"rows of shape {block.shape}; expected {(len(digests), space.dim)}")
        if not np.isfinite(block).all():
            raise FloatingPointError(f"{space.name} returned features that are not finite")
        if space.parts:
            for target, columns in zip(space.parts, _split_columns(space, block), strict=True):
                self.put(target, digests, columns)
            return
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO spaces (key, name, dim) VALUES (?, ?, ?)",
                (space.key, space.name, space.dim),
            )
            space_id = self._space_id(space)
            self._db.executemany(
                "INSERT OR IGNORE INTO features VALUES (?, ?, ?, ?)",
                (
                    (space_id, digest, value, compute_checksum(space.key, digest, value))
                    for digest, value in zip(
                        map(bytes.fromhex, digests), (row.tobytes() for row in block), strict=True
                    )
                ),
            )

    def get(self, space: FeatureSpace, digests: Sequence[str]) -> Features:
        """Return the rows of `digests`, `[n, dim]`, in that order.

        Raises:
            OutputError: A row is missing or damaged.
        """
        out = np.empty((len(digests), space.dim), np.float32)
        self._read_into(out, space, digests)
        return out

    def _read_into(self, out: Features, space: FeatureSpace, digests: Sequence[str]) -> None:
        if space.parts:
            for source, columns in zip(space.parts, _split_columns(space, out), strict=True):
                self._read_into(columns, source, digests)
            return
        positions: dict[str, list[int]] = {}
        for i, hexadecimal in enumerate(digests):
            positions.setdefault(hexadecimal, []).append(i)
        with self._translate_errors():
            space_id = self._space_id(space)
            rows = [] if space_id is None else self._iter_rows(space_id, list(positions))
            for digest, value, checksum in rows:
                if is_intact(space, digest, value, checksum):
                    out[positions.pop(digest.hex())] = np.frombuffer(value, "<f4")
        if positions:
            raise OutputError(
                f"{len(positions)} rows of {space.name} are missing or damaged in the store "
                f"{self.path}; run the command again, which encodes them again, or empty the "
                f"store: ilk store --clear"
            )

    def list_spaces(self) -> list[tuple[FeatureSpace, int]]:
        """List each space with its number of rows."""
        with self._translate_errors():
            return [
                (FeatureSpace(key, name, dim), n)
                for key, name, dim, n in self._db.execute(
                    "SELECT key, name, dim, (SELECT count(*) FROM features WHERE space = id) "
                    "FROM spaces ORDER BY name"
                )
            ]

    def clear(self, name: str | None = None) -> int:
        """Delete the rows of encoder `name` (or everything); return the number of rows."""
        with self._transaction():
            condition, args = ("name = ?", (name,)) if name else ("1", ())
            rows = f"FROM features WHERE space IN (SELECT id FROM spaces WHERE {condition})"
            n_deleted = self._db.execute(f"SELECT count(*) {rows}", args).fetchone()[0]
            self._db.execute(f"DELETE {rows}", args)
            self._db.execute(f"DELETE FROM spaces WHERE {condition}", args)
            if name is None:
                self._db.execute("DELETE FROM verdicts")
                self._db.execute("DELETE FROM measurements")
                self._db.execute("DELETE FROM pixels")
        with self._translate_errors():
            self._db.execute("VACUUM")
        return int(n_deleted)


def is_intact(space: FeatureSpace, digest: object, value: object, checksum: object) -> bool:
    """Whether a stored row is what was put: a damaged file may also hold values of other types."""
    return (
        isinstance(digest, bytes)
        and isinstance(value, bytes)
        and len(value) == 4 * space.dim
        and checksum == compute_checksum(space.key, digest, value)
    )


def _split_columns(space: FeatureSpace, rows: Features) -> list[Features]:
    """Return views of the columns `[n, d]` of each part of a space."""
    ends = np.cumsum([part.dim for part in space.parts])
    return np.split(rows, ends[:-1], axis=1)
