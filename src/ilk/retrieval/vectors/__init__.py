"""Rows by id: the contract of kinds of index and projections, and segments that lie in files."""
