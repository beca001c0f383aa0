# All files stay inside the clone, in .venv. Set PYTHON to use another interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
ILK_STORE ?= $(CURDIR)/.venv/store.sqlite
export ILK_STORE

.PHONY: demo test robustness lint docs clean

demo: .venv/core.stamp
	$(BIN)/ilk demo

# One thread per worker: several for each would wait for one another.
test: export OMP_NUM_THREADS = 1
test: .venv/dev.stamp
	$(BIN)/python -m pytest -n auto

# Hostile files, tampered models, kills, two writers, bombs and odd situations, in a short form.
robustness: .venv/dev.stamp
	$(BIN)/ilk bench robustness --small --out .venv/robustness.json > .venv/robustness.txt

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/dev.stamp
	$(BIN)/python -m tools.docs

.venv/bin/python:
	$(PYTHON) -m venv .venv

# A single `pip install` resolves torch together with the packages that need torchvision, so that an
# available CPU build is used and no later command installs CUDA packages.
.venv/core.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/dev.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv ilk-demo
