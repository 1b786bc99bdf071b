# make demo: paint a picture; make test: run the tests. Both set .venv up first, once.
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3 python,$(shell $(name) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && echo $(name))))

.PHONY: help demo test test-cluster setup lint pictures figures lock clean

help:
	@echo "make demo      paint one of our own picture pairs: no download, no GPU"
	@echo "make test      the whole test suite"
	@echo "make test-cluster  sweeps and studies on a real Slurm, Ray and PostgreSQL, for an hour; as root on Debian"
	@echo "make lint      style checks"
	@echo "make pictures  draw our own pictures again"
	@echo "make figures   paint every sheet of docs/experiments.md again: hours on two cores"
	@echo "make benchmark        time the engine against a plain implementation: some minutes; see docs/performance.md"
	@echo "make benchmark-check  say what costs over 5 % more than at the commit recorded last"
	@echo "make lock      resolve requirements.lock again"

setup: $(VENV)/.complete

# Complete when the lock and the package are installed; again only when either file changes.
$(VENV)/.complete: requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then
	  echo "stylelab needs Python 3.11, 3.12 or 3.13, and found none on PATH: install one, or say where by make PYTHON=/path/to/python3" >&2
	  exit 1
	fi
	if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then
	  echo "$(PYTHON) lacks venv or pip: install them (on Debian and Ubuntu the package python3-venv), or say another by make PYTHON=..." >&2
	  exit 1
	fi
	echo "Setting up $(VENV) with $$($(PYTHON) --version): some minutes and about 6 GB, once"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

demo: setup
	@$(BIN)/stylelab experiment=demo

test: setup
	@$(BIN)/python -m pytest --numprocesses logical --dist loadfile

# Slurm and Ray on two nodes in network namespaces, with jobs pre-empted and killed and a node lost; joblib, submitit_local
# and a study in PostgreSQL. Installs the extras and, where they are missing, Debian's packages of Slurm and PostgreSQL.
test-cluster: setup
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[joblib,submitit,ray,optuna,postgresql]'
	$(BIN)/python tests/cluster/on_this_machine.py
	$(BIN)/python tests/cluster/on_postgresql.py
	$(BIN)/python tests/cluster/on_slurm.py
	$(BIN)/python tests/cluster/on_ray.py

lint: setup
	@$(BIN)/ruff check src tests images training benchmarks
	$(BIN)/ruff format --check src tests images training benchmarks

pictures: setup
	@$(BIN)/python images/draw.py

# Every sheet of docs/experiments.md, one alone by `make figure-NAME`, with VGG-19's parameters from the cache, or from the
# folder STYLELAB_CACHE=FOLDER; what is finished is not painted again. More for all of them by OVERRIDES="threads=1 ...", for
# one of them by OVERRIDES_networks="...".
FIGURES := gatys2015_figure1_content gatys2015_figure1_style gatys2015_figure2 gatys2015_figure3 gatys2016_figure4 \
  gatys2016_figure5 gatys2016_figure6 layers optimizers pooling pooling_at_equal_weights readings networks
OUTPUTS := $(CURDIR)/outputs
.PHONY: $(FIGURES:%=figure-%)

figures: $(FIGURES:%=figure-%)

$(FIGURES:%=figure-%): figure-%: setup
	@mkdir -p docs/figures
	$(BIN)/stylelab -m experiment=$* size=small sweep=$* "outputs=$(OUTPUTS)" $(OVERRIDES) $(OVERRIDES_$*)
	$(BIN)/stylelab-report $* --name $* --outputs "$(OUTPUTS)"
	$(BIN)/python -c "from PIL import Image; Image.open('$(OUTPUTS)/reports/$*/sheet.png').convert('RGB').save('docs/figures/$*.jpg', quality=65, optimize=True, progressive=True)"

# More by OPTIONS="--parameters FILE --sides 128 256 512 1024 --peer neural-style-pt=CHECKOUT"; all: OPTIONS=--help.
benchmark: setup
	@$(BIN)/python benchmarks/speed.py $(OPTIONS)

benchmark-check: setup
	@$(BIN)/python benchmarks/check.py $(OPTIONS)

# Makes the present commit the one that benchmark-check compares with, and keeps its figures.
benchmark-record: setup
	@$(BIN)/python benchmarks/check.py --record $(OPTIONS)

lock:
	@uv pip compile pyproject.toml --extra development --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate --output-file requirements.lock

clean:
	@rm -rf $(VENV) build src/*.egg-info .pytest_cache .ruff_cache
