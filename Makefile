# One command list for people and for CI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup lock audit sbom demo test check lint format coverage docs notebooks bench trials quality frameworks lowest dist clean help

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup: $(READY)  ## Make .venv with the locked development versions

# scripts/install.py checks each file against its hash in requirements/. TORCH_INDEX names the index
# to take torch from; PyTorch's own CPU index has builds for Linux without CUDA.
$(READY): pyproject.toml $(wildcard models/*/pyproject.toml requirements/*.txt) scripts/install.py scripts/locked.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m scripts.install --torch-index "$(TORCH_INDEX)"
	touch $(READY)

lock:  ## Renew the locked versions and hashes from pyproject.toml and constraints.txt
	test -x $(BIN)/uv || $(MAKE) setup
	$(BIN)/python -m scripts.lock

audit: setup  ## Look up known vulnerabilities of the locked versions
	$(BIN)/python -m scripts.audit

sbom: setup  ## List what m3rag needs, with hashes and licences, as CycloneDX JSON in build/
	$(BIN)/python -m scripts.sbom

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

trials: setup  ## Attack the stores, readers and loaders; prints a table of figures; long (SEED=n)
	$(BIN)/python scripts/trials.py $(if $(SEED),--seed $(SEED))

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

quality: setup  ## Renew the tables of docs/quality.md and of its notes from the sets in DATA; long
	$(BIN)/python benchmarks/quality.py $(DATA)

frameworks: setup  ## Test with the lowest and the newest LangChain and LlamaIndex; minutes
	$(BIN)/python scripts/framework_versions.py

lowest: setup  ## Test with the lowest versions that pyproject.toml allows; minutes
	$(BIN)/python scripts/lowest.py

dist: setup  ## Build the wheels and the sdist into dist/, check and try them
	$(BIN)/python -m scripts.dist

clean:  ## Remove what the commands above made
	rm -rf $(VENV) site demo-kb .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist htmlcov .coverage*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
