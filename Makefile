# Everything stays inside the clone, in .venv. PYTHON names another interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
ILK_STORE ?= $(CURDIR)/.venv/store.sqlite
export ILK_STORE

.PHONY: demo test lint docs clean

demo: .venv/core.stamp
	$(BIN)/ilk demo

test: .venv/dev.stamp
	$(BIN)/python -m pytest

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/dev.stamp
	$(BIN)/python -m ilk.docs

.venv/bin/python:
	$(PYTHON) -m venv .venv

# One `pip install` resolves torch together with what asks for torchvision, so that a CPU build
# that lies at hand is taken and nothing pulls CUDA packages later.
.venv/core.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/dev.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv ilk-demo
