# `make bench` and `make test` do all set-up themselves. MATRIX= names a matrix, ARGS= passes flags on,
# PYTHON= uses an existing environment (such as that of an offline GPU node) instead of .venv.
MATRIX ?= quick
ARGS ?=
RESULTS ?= results/runs

# One word for the shell, whatever characters a value has; a leading ~/ is the home folder
escaped = $(subst ','\'',$(1))
quoted = $(if $(filter ~/%,$(firstword $(1))),~/'$(call escaped,$(patsubst ~/%,%,$(1)))','$(escaped)')
# The path of a program; else a command with arguments
program = $(if $(shell command -v $(quoted)),$(quoted),$(1))

# only from the command line: an exported PYTHON means something else to many tools
ifeq ($(origin PYTHON),command line)
  PY := $(call program,$(value PYTHON))
  READY :=
else
  PY := .venv/bin/python
  READY := .venv/.installed
endif
# the checkout comes first, then the folders of the user
GANBENCH := PYTHONPATH=".$${PYTHONPATH:+:$$PYTHONPATH}" $(PY) -m benchmark
OF_MATRIX = --matrix $(call quoted,$(value MATRIX)) --results $(call quoted,$(value RESULTS))
VERBS := run status tables plots report check accept measure audit

.PHONY: help install bench $(VERBS) list new compare sample export merge explain verify history test lint type speed docs ci clean

help:
	@echo "make bench    run the matrix, build tables, figures and report   (MATRIX=quick)"
	@echo "make test     run the tests"
	@echo "also: install list new run status measure audit tables plots report compare check accept history verify merge sample"
	@echo "      export explain lint type speed docs ci clean"

install: $(READY)

.venv/.installed: pyproject.toml constraints.txt
	@$(call program,$(or $(value BOOTSTRAP),python3)) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "ganbench needs Python 3.11 to 3.13; name one with BOOTSTRAP=python3.12"; exit 2; }
	$(call program,$(or $(value BOOTSTRAP),python3)) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

bench: $(READY)
	$(GANBENCH) run $(OF_MATRIX) $(value ARGS)
	$(GANBENCH) report $(OF_MATRIX)

$(VERBS): $(READY)
	$(GANBENCH) $@ $(OF_MATRIX) $(value ARGS)

# ARGS="wgan_gp wgan_fdgp", or result folders; ARGS="CELL --n 50000"; ARGS="tensorboard --follow"
compare sample export: $(READY)
	$(GANBENCH) $@ $(OF_MATRIX) $(value ARGS)

# ARGS="FOLDER FOLDER --into FOLDER"
merge: $(READY)
	$(GANBENCH) merge $(value ARGS)

# ARGS="objective my_loss"
list new explain verify history: $(READY)
	$(GANBENCH) $@ $(value ARGS)

# one process per core, one thread each; the tests of a module share a process and its fixtures
test: $(READY)
	$(PY) -m pytest -n auto --dist loadscope $(value ARGS)

lint: $(READY)
	$(PY) -m ruff check . $(value ARGS)
	$(PY) -m ruff format --check .

type: $(READY)
	$(PY) -m mypy $(value ARGS)

speed: $(READY)
	$(PY) -m pytest tests/speed -m speed --benchmark-only -s $(value ARGS)

# README, docs/ and results/ as a site in site/; a broken link fails
docs: $(READY)
	$(PY) -m sphinx -q -W --keep-going -c docs . site $(value ARGS)

ci:
	bash .ci/run

clean:
	rm -rf .venv build dist site jupyter_execute *.egg-info .benchmarks .mypy_cache .pytest_cache .ruff_cache
