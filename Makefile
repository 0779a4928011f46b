PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: run test
run: .venv/installed
	snakemake --cores all

test: .venv/installed-test
	pytest --numprocesses auto --maxprocesses 4

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	pip install --disable-pip-version-check -r requirements.lock
	pip install --disable-pip-version-check --no-deps -e .
	touch $@

.venv/installed-test: .venv/installed requirements-node.lock requirements-test.lock
	pip install --disable-pip-version-check -r requirements-test.lock
	touch $@
