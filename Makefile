# Every target does its own set-up on a machine with Python 3.11 or newer and make.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# torch of test-lowest: the version whose CPU build this project is developed with. PyPI's own builds bring gigabytes of
# CUDA; where those are wanted, or another build is at hand, say so: make test-lowest TORCH=2.11.0
TORCH ?= 2.13.0

# What the pages are checked with for accessibility comes from npm; those checks are skipped where there is none.
AXE := tests/node_modules/axe-core/package.json

.PHONY: setup demo screenshots test test-slow test-lowest fuzz lint audit format bench bench-flow bench-startup bench-topics bench-refresh bench-search bench-service bench-plan bench-metrics explore soak dist clean

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

# Asks api.osv.dev about every version of constraints.txt, so it is no part of lint; the auditor has an environment of its own.
audit: .venv-audit/.ready
	@.venv-audit/bin/pip-audit --vulnerability-service osv --requirement constraints.txt --no-deps --disable-pip 2> .venv-audit/log || \
		{ if grep -q ConnectionError .venv-audit/log; then echo "audit: api.osv.dev cannot be reached from here; nothing was checked"; \
		else cat .venv-audit/log; fi; exit 1; }

.venv-audit/.ready:
	test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3'
	@touch $@

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
	$(BIN)/python tests/bench/map_frames.py $(TABLE)

bench-plan: $(READY)
	@test -n "$(NEWSGROUPS)$(OPENSTAX)" || { echo "Say which corpora: make bench-plan NEWSGROUPS=FILE OPENSTAX=FILE"; exit 1; }
	$(BIN)/python tests/bench/plan.py $(NEWSGROUPS) $(OPENSTAX)

bench-metrics: $(READY)
	$(BIN)/python tests/bench/metrics.py

explore: $(READY)
	$(BIN)/python tests/bench/orders.py $(EXPLORE)

soak: $(READY)
	$(BIN)/python -m pytest tests/soak -m soak -s -p no:randomly $(SOAK)

fuzz: $(READY)
	$(BIN)/python tests/soak/fuzz.py $(FUZZ)

# A release: wheel and sdist, and the wheel tried in an environment that has nothing else.
dist: $(READY)
	rm -rf dist build/dist && mkdir -p build/dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(PYTHON) -m venv --clear .venv-dist
	.venv-dist/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt dist/*.whl
	cd build/dist && ../../.venv-dist/bin/moee demo && ../../.venv-dist/bin/moee infra render
	diff --recursive infra build/dist/infra
	@ls dist

clean:
	rm -rf .venv .venv-lowest .venv-dist .venv-audit build dist .pytest_cache .ruff_cache .hypothesis demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
