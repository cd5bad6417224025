# Every target does its own set-up on a machine with Python 3.11 or newer and make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# torch of test-lowest: the version whose CPU build this project is developed with. PyPI's own builds bring gigabytes of
# CUDA; where those are wanted, or another build is at hand, say so: make test-lowest TORCH=2.11.0
TORCH ?= 2.13.0

# What the pages are checked with for accessibility comes from npm; those checks are skipped where there is none.
AXE := tests/node_modules/axe-core/package.json

.PHONY: setup demo screenshots test test-slow test-lowest fuzz lint format bench bench-flow bench-startup bench-topics bench-refresh bench-search bench-service explore soak clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; this is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,s3]'
	@touch $@

demo: $(READY)
	$(BIN)/moee demo

$(AXE): tests/package-lock.json
	-@command -v npm >/dev/null && npm ci --prefix tests --ignore-scripts --no-audit --no-fund --silent && touch $@

test: $(READY) $(AXE)
	$(BIN)/python -m pytest

# Of the page, for the README; another table: make screenshots TABLE=lake/docs
screenshots: $(READY)
	$(BIN)/python tests/screenshots.py $(or $(TABLE),demo/docstrings)

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

test-lowest: .venv-lowest/.ready
	.venv-lowest/bin/python -m pytest -m "not cluster and not slow and not soak"

.venv-lowest/.ready: pyproject.toml tests/lowest_versions.py $(READY)
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	$(BIN)/python tests/lowest_versions.py > .venv-lowest/constraints.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint .venv-lowest/constraints.txt 'torch==$(TORCH)' --editable '.[dev,s3]'
	@touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	$(BIN)/python tests/bench/encoder.py
	$(BIN)/python tests/bench/quantization.py

bench-startup: $(READY)
	$(BIN)/python tests/bench/startup.py

bench-flow: $(READY)
	$(BIN)/python tests/bench/flow.py
	$(BIN)/python tests/bench/planning.py
	$(BIN)/python tests/bench/commits.py

bench-topics: $(READY)
	$(BIN)/python tests/bench/topics.py $(if $(NEWSGROUPS),--newsgroups $(NEWSGROUPS))

bench-refresh: $(READY)
	@test -n "$(NEWSGROUPS)" || { echo "Say where the newsgroups are: make bench-refresh NEWSGROUPS=FILE"; exit 1; }
	$(BIN)/python tests/bench/topic_refresh.py $(NEWSGROUPS)

bench-search: $(READY)
	$(BIN)/python tests/bench/search.py $(if $(NEWSGROUPS),--newsgroups $(NEWSGROUPS)) $(if $(OPENSTAX),--openstax $(OPENSTAX)) $(SEARCH)

bench-service: $(READY)
	@test -n "$(TABLE)" || { echo "Say which table: make bench-service TABLE=demo/docstrings (make demo makes it)"; exit 1; }
	$(BIN)/python tests/bench/service.py $(TABLE)

explore: $(READY)
	$(BIN)/python tests/bench/orders.py $(EXPLORE)

soak: $(READY)
	$(BIN)/python -m pytest tests/soak -m soak -s -p no:randomly $(SOAK)

fuzz: $(READY)
	$(BIN)/python tests/soak/fuzz.py $(FUZZ)

clean:
	rm -rf .venv .venv-lowest build dist .pytest_cache .ruff_cache .hypothesis demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
