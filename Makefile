# `make bench` and `make test` do all set-up themselves. MATRIX= names a matrix, ARGS= passes flags on,
# PYTHON= uses an existing environment (such as that of an offline GPU node) instead of .venv.
MATRIX ?= quick
ARGS ?=
RESULTS ?= results/runs

# only from the command line: an exported PYTHON means something else to many tools
ifeq ($(origin PYTHON),command line)
  PY := $(PYTHON)
  READY :=
else
  PY := .venv/bin/python
  READY := .venv/.installed
endif
GANBENCH := PYTHONPATH=. $(PY) -m benchmark
VERBS := run status tables plots report check accept measure

.PHONY: help install bench $(VERBS) list new compare sample export merge explain test lint type speed ci clean

help:
	@echo "make bench    run the matrix, build tables, figures and report   (MATRIX=quick)"
	@echo "make test     run the tests"
	@echo "also: install list new run status measure tables plots report compare check accept merge sample"
	@echo "      export explain lint type speed ci clean"

install: $(READY)

.venv/.installed: pyproject.toml constraints.txt
	@$(or $(BOOTSTRAP),python3) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "ganbench needs Python 3.11 to 3.13; name one with BOOTSTRAP=python3.12"; exit 2; }
	$(or $(BOOTSTRAP),python3) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

bench: $(READY)
	$(GANBENCH) run --matrix $(MATRIX) --results $(RESULTS) $(ARGS)
	$(GANBENCH) report --matrix $(MATRIX) --results $(RESULTS)

$(VERBS): $(READY)
	$(GANBENCH) $@ --matrix $(MATRIX) --results $(RESULTS) $(ARGS)

# ARGS="wgan_gp wgan_fdgp", or result folders; ARGS="CELL --n 50000"; ARGS="tensorboard --follow"
compare sample export: $(READY)
	$(GANBENCH) $@ --matrix $(MATRIX) --results $(RESULTS) $(ARGS)

# ARGS="FOLDER FOLDER --into FOLDER"
merge: $(READY)
	$(GANBENCH) merge $(ARGS)

# ARGS="objective my_loss"
list new explain: $(READY)
	$(GANBENCH) $@ $(ARGS)

# one process per core, one thread each; the tests of a module share a process and its fixtures
test: $(READY)
	$(PY) -m pytest -n auto --dist loadscope $(ARGS)

lint: $(READY)
	$(PY) -m ruff check . $(ARGS)
	$(PY) -m ruff format --check .

type: $(READY)
	$(PY) -m mypy $(ARGS)

speed: $(READY)
	$(PY) -m pytest tests/speed -m speed --benchmark-only -s $(ARGS)

ci:
	bash .ci/run

clean:
	rm -rf .venv build dist *.egg-info .benchmarks .mypy_cache .pytest_cache .ruff_cache
