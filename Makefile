# One command list for people and for CI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test check lint format coverage docs notebooks bench quality frameworks lowest dist clean help

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup: $(READY)  ## Make .venv with the locked development versions

# torch first and alone: constraints.txt pins its version, so nothing pulls another build later.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all]" --group dev
	touch $(READY)

demo: setup  ## Index lessons in eight languages, ask questions in other ones
	$(BIN)/python examples/demo.py

test: setup  ## Run the tests, a file of them at a time in each of two processes
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: setup  ## Style, types, layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## Sort imports and format the code
	$(BIN)/ruff check --select I --fix
	$(BIN)/ruff format

check: lint test  ## lint and test

coverage: setup  ## Run the tests and write htmlcov/; fails under 95 %
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --timeout 600 --cov --cov-report term --cov-report html

docs: setup  ## Build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

notebooks: setup  ## Execute the notebooks and keep their outputs
	$(BIN)/python notebooks/execute.py

bench: setup  ## Measure; minutes (BENCH=--quick: one to three)
	$(BIN)/python benchmarks/lessons.py $(filter --quick,$(BENCH))
	$(BIN)/python benchmarks/rerank.py $(BENCH)
	$(BIN)/python benchmarks/query.py $(BENCH)
	$(BIN)/python benchmarks/encode.py --layers 4 $(BENCH)
	$(BIN)/python benchmarks/search.py --most 10000 $(BENCH)
	$(BIN)/python benchmarks/memory.py --passages 1000 $(BENCH)

quality: setup  ## Renew the tables of benchmarks/quality-notes.md from the sets in DATA; long
	$(BIN)/python benchmarks/quality.py $(DATA)

frameworks: setup  ## Test with the lowest and the newest LangChain and LlamaIndex; minutes
	$(BIN)/python scripts/framework_versions.py

lowest: setup  ## Test with the lowest versions that pyproject.toml allows; minutes
	$(BIN)/python scripts/lowest.py

dist: setup  ## Build the wheel and the sdist into dist/, check and try them
	$(BIN)/python scripts/dist.py

clean:  ## Remove what the commands above made
	rm -rf $(VENV) site demo-kb .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist htmlcov .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
