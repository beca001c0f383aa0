"""For each family of encoders that needs files: `make(folder, monkeypatch)` saves tiny ones.

It returns the name that opens them. A family without weights needs no file here: its default name
opens it.
"""
