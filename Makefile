# Two commands do everything: `make demo` and `make test`. Python 3.11 or newer: make PYTHON=python3.12 demo
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# of pytest: one for each core, one thread each; who is done takes tests from the others
WORKERS ?= -n auto --dist worksteal

.PHONY: demo test test-slow performance docs lint types format clean

demo: $(INSTALLED)
	$(BIN)/fusionbench run benchmarks/demo.yaml

test: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest $(WORKERS)

test-slow: $(INSTALLED)
	$(BIN)/pytest $(WORKERS) -m slow

# measures everything anew on a quiet machine (half an hour on two cores) and puts it into docs/performance.md
PERFORMANCE ?= /tmp/performance
performance: $(INSTALLED)
	$(BIN)/python benchmarks/performance/populations.py --sweep --reencode --rounds 5 --folder $(PERFORMANCE)
	$(BIN)/python benchmarks/performance/demo.py --rounds 5 --folder $(PERFORMANCE)
	$(BIN)/python benchmarks/performance/page.py --folder $(PERFORMANCE)

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(INSTALLED)
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# installed again only when what is to be installed changes
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fusionbench needs Python 3.11 or newer, found %d.%d; name another with: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip uninstall --quiet --yes fusionbench 2>/dev/null || true # the name of fusionbench-core before it had this one
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) runs site build dist .pytest_cache .mypy_cache .ruff_cache
