# Every target has its line of help behind ##; `make` alone prints them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup python-runtime demo test check services bench soak docs site picture lock clean

bin := .venv/bin
stamp := .venv/stamp
BENCH ?=
SOAK ?=
UPGRADE ?=

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(stamp) ## Build .venv from the locks (PYTHON=... chooses the interpreter)
	@:

$(stamp): pyproject.toml guests/python/pyproject.toml requirements/dev.lock requirements/build.lock requirements/installer.lock
	@scripts/setup.sh

python-runtime: setup ## Build what plugins in Python run in (once for each state of its sources)
	@scripts/python-runtime.sh

demo: setup ## Run the demo on the flights of New York City, 2013
	@scripts/uv.sh pip install --quiet --python $(bin)/python --no-deps --require-hashes \
		--build-constraints requirements/build.lock -r requirements/demo.lock
	@$(bin)/dataflare demo

test: setup ## Run everything: checks, all tests on real servers, unit tests on a second Python
	@scripts/test.sh

check: python-runtime ## Check format, lint, types, layers, house rules; run the unit tests (under two minutes)
	@scripts/lint.sh; lint=$$?; \
	$(bin)/python -m pytest -q -n 2 tests/architecture tests/docs tests/unit && exit $$lint

services: setup ## Install and start the private test servers (stop: python scripts/services.py stop)
	@$(bin)/python scripts/services.py install
	@$(bin)/python scripts/services.py start

bench: setup ## Measure the workloads against their bounds and peers (BENCH="W1 W3" chooses)
	@$(bin)/python -m benchmarks $(BENCH)

soak: setup ## Kill, restart and compare for an hour, then write docs/soak.md (SOAK="--kills 5 ..." for less)
	@scripts/toolchains.sh all
	@$(bin)/python scripts/soak.py $(SOAK)

docs: setup ## Write docs/reference from the descriptions of components and of the workflow file
	@$(bin)/python scripts/reference.py

site: setup ## Build the documents as a web site, in dist/site
	@scripts/setup.sh .venv-site .venv/bin/python requirements/site.lock >/dev/null
	@.venv-site/bin/python scripts/site.py

picture: setup ## Record the terminal of the README anew, docs/images/terminal.svg
	@scripts/uv.sh pip install --quiet --python $(bin)/python --no-deps --require-hashes \
		--build-constraints requirements/build.lock -r requirements/demo.lock
	@scripts/setup.sh .venv-site .venv/bin/python requirements/site.lock >/dev/null
	@.venv-site/bin/python scripts/terminal.py

lock: ## Write requirements/*.lock anew (UPGRADE=--upgrade takes newer versions)
	@scripts/lock.sh $(UPGRADE)

clean: ## Remove caches and outputs; the virtual environments stay
	@rm -rf .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist demo \
		benchmarks/data benchmarks/out
	@find src tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
