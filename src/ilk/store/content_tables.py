"""What decoding gave, by content: failures, measurements, and summaries of pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ilk.images.inspection.pixel_summary import PixelSummary
from ilk.store.database import Database, iter_chunks, make_placeholders
from ilk.store.schema import compute_checksum


class ContentTables(Database):
    """Results of decoding, by the digest of the file. Damaged rows are absent."""

    def get_decode_results(self, digests: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return cached decode results: digest to (reason or "", detail)."""
        unique = list(dict.fromkeys(digests))
        with self._translate_errors():
            return {
                digest.hex(): (reason, detail)
                for part in iter_chunks(unique)
                for digest, reason, detail, checksum in self._db.execute(
                    "SELECT digest, reason, detail, checksum FROM verdicts "
                    f"WHERE digest IN ({make_placeholders(part)})",
                    tuple(map(bytes.fromhex, part)),
                )
                if checksum == compute_checksum(digest, reason, detail)
            }

    def put_decode_results(self, results: dict[str, tuple[str, str]]) -> None:
        """Cache decode results by content."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?)",
                (
                    (digest, *result, compute_checksum(digest, *result))
                    for digest, result in ((bytes.fromhex(d), r) for d, r in results.items())
                ),
            )

    def get_measurements(self, name: str, digests: Iterable[str]) -> dict[str, tuple[float, float]]:
        """Return what was measured under a name: digest to two numbers; damaged rows are absent."""
        unique = list(dict.fromkeys(digests))
        with self._translate_errors():
            return {
                digest.hex(): (first, second)
                for part in iter_chunks(unique)
                for digest, first, second, checksum in self._db.execute(
                    "SELECT digest, first, second, checksum FROM measurements "
                    f"WHERE name = ? AND digest IN ({make_placeholders(part)})",
                    (name, *map(bytes.fromhex, part)),
                )
                if isinstance(digest, bytes)
                and checksum == compute_checksum(name, digest, repr((first, second)))
            }

    def put_measurements(self, name: str, values: Mapping[str, tuple[float, float]]) -> None:
        """Keep two numbers per image under a name, such as its least and greatest value."""
        rows = [
            (name, bytes.fromhex(digest), float(first), float(second))
            for digest, (first, second) in values.items()
        ]
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO measurements VALUES (?, ?, ?, ?, ?)",
                ((*row, compute_checksum(row[0], row[1], repr((row[2], row[3])))) for row in rows),
            )

    def get_pixel_summaries(self, digests: Iterable[str]) -> dict[str, PixelSummary]:
        """Return what is kept of the pixels of files, by digest; damaged rows are left out."""
        return {
            digest.hex(): PixelSummary(pixel_digest.hex(), thumbnail)
            for digest, pixel_digest, thumbnail in self._iter_pixel_rows(digests)
        }

    def get_pixel_digests(self, digests: Iterable[str]) -> dict[str, str]:
        """Return the digests of the pixels of files, by digest; damaged rows are left out."""
        return {
            digest.hex(): pixel_digest.hex()
            for digest, pixel_digest, _ in self._iter_pixel_rows(digests)
        }

    def _iter_pixel_rows(self, digests: Iterable[str]) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Yield digest of the file, digest of the pixels and thumbnail of intact rows."""
        for part in iter_chunks(list(dict.fromkeys(digests))):
            with self._translate_errors():
                rows = self._db.execute(
                    "SELECT digest, pixel_digest, thumbnail, checksum FROM pixels "
                    f"WHERE digest IN ({make_placeholders(part)})",
                    tuple(map(bytes.fromhex, part)),
                ).fetchall()
            for *values, checksum in rows:
                if all(isinstance(value, bytes) for value in values) and (
                    checksum == compute_checksum(*values)
                ):
                    digest, pixel_digest, thumbnail = values
                    yield digest, pixel_digest, thumbnail

    def put_pixel_summaries(self, summaries: Mapping[str, PixelSummary]) -> None:
        """Keep summaries of pixels by digest of the file; they replace damaged rows."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO pixels VALUES (?, ?, ?, ?)",
                (
                    (*values, compute_checksum(*values))
                    for values in (
                        (bytes.fromhex(digest), bytes.fromhex(summary.digest), summary.thumbnail)
                        for digest, summary in summaries.items()
                    )
                ),
            )
