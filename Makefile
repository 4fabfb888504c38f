# Everything from a fresh clone: Python 3.10 or newer, make and git. Each target works by itself.
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
RUNTIME := .venv/.runtime
STAMP := .venv/.installed

.PHONY: demo test test-lowest runtime install lint docs notebook bench quality clean help

help:
	@echo "make demo | runtime | test | test-lowest | install | lint | docs | notebook | bench | quality DATA=dir | clean"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable '.[dev]'
	@touch $(RUNTIME) $(STAMP)

# Half of what takes long to install is for the tests.
$(RUNTIME): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) --no-compile --editable .
	@touch $(RUNTIME)

# What a user needs, and no tools for tests.
runtime: $(RUNTIME)

demo: $(RUNTIME)
	$(BIN)/autoloss search problem=two_digits name=demo fresh=true trainer.max_epochs=40 search.n_trials=64 search.confirm=2 search.confirm_seeds=4 search.workers=2

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# The same tests with the oldest Python and the oldest dependencies that pyproject.toml allows.
LOWEST ?= python3.10
OLD := .venv-lowest
test-lowest:
	$(LOWEST) -m venv $(OLD)
	$(LOWEST) tests/lowest.py > $(OLD)/constraints.txt
	$(OLD)/bin/python -m pip install --quiet --constraint $(OLD)/constraints.txt --editable '.[dev]'
	OMP_NUM_THREADS=1 $(OLD)/bin/python -m pytest -n $(WORKERS) --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=plugins $(BIN)/mypy --explicit-package-bases -p hydra_plugins.hydra_autoloss
	$(BIN)/lint-imports

# The pages as a site, in build/site; a warning is an error. Nothing is fetched.
docs: install
	$(BIN)/python docs/site/build_site.py

# Is the notebook still true? To write its outputs again: python examples/execute_notebook.py
notebook: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/examples/test_quickstart.py

bench: install
	$(BIN)/python benchmarks/step_cost.py
	$(BIN)/python benchmarks/meta_cost.py
	$(BIN)/python benchmarks/help_cost.py

# DATA holds mnist/, adult/ and pinn/; goes on where it was stopped.
quality: install
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/quality.py --data $(DATA)

clean:
	rm -rf .venv $(OLD) dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
