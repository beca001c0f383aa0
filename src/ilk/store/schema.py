"""Tables of the store, their upgrade, and the checksum of a row."""

from __future__ import annotations

from zlib import crc32

SCHEMA_VERSION = 3

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS spaces (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL, dim INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS features (
    space INTEGER NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    digest BLOB NOT NULL, value BLOB NOT NULL, checksum INTEGER NOT NULL DEFAULT -1,
    UNIQUE (space, digest));
CREATE TABLE IF NOT EXISTS verdicts (
    digest BLOB PRIMARY KEY, reason TEXT NOT NULL, detail TEXT NOT NULL,
    checksum INTEGER NOT NULL DEFAULT -1) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pixels (
    digest BLOB PRIMARY KEY, pixel_digest BLOB NOT NULL, thumbnail BLOB NOT NULL,
    checksum INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {SCHEMA_VERSION};
"""
MEASUREMENTS = """
CREATE TABLE IF NOT EXISTS measurements (
    name TEXT NOT NULL, digest BLOB NOT NULL, first REAL NOT NULL, second REAL NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (name, digest)) WITHOUT ROWID;
"""  # of no version: an older ilk leaves the table alone
ADD_CHECKSUMS = """  -- version 1 to 2
BEGIN IMMEDIATE;
ALTER TABLE features ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
ALTER TABLE verdicts ADD COLUMN checksum INTEGER NOT NULL DEFAULT -1;
UPDATE features SET checksum =
    compute_checksum((SELECT key FROM spaces WHERE id = space), digest, value);
UPDATE verdicts SET checksum = compute_checksum(digest, reason, detail);
PRAGMA user_version = 2;
COMMIT;
"""


def compute_checksum(*values: str | bytes) -> int:
    """Return the CRC-32 of texts and bytes, in this order."""
    checksum = 0
    for value in values:
        checksum = crc32(
            value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value, checksum
        )
    return checksum
