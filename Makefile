# Every word that a developer needs; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CACHE := $(if $(BACKSTAY_CACHE),$(BACKSTAY_CACHE),$(HOME)/.cache/backstay)
UV := $(or $(shell command -v uv 2>/dev/null),$(CACHE)/uv/bin/uv)
RUN := PYTHONPATH=hack $(UV) run --frozen
WORLDS := $(RUN) python -m worlds

.PHONY: help setup demo test test-fast check fmt up down env operator-start bench generate sim-long

help: ## list the words
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '%s\n' '' 'Variables, as in `make up LAB_HOSTS=3`:' \
	  '  KEEP=1                 demo leaves all running' \
	  '  LAB_HOSTS=3            so many ZFS hosts, instead of 2' \
	  '  LAB_DEBIAN=bookworm    release of the hosts (OpenZFS 2.1), instead of trixie (2.3); or one each: bookworm,trixie' \
	  '  LAB_MEMORY_MIB=2048    memory of each host, instead of 3072' \
	  '  BACKSTAY_CONTROLPLANE  kind (needs a container engine) or built (etcd and kube-apiserver from Go modules);' \
	  '                         left out: kind where an engine answers. Tests always use the built one' \
	  '  SEED=17 STEPS=2000     sim-long tells this one story again, of so many steps' \
	  '  BACKSTAY_CACHE         where everything built or running is kept, instead of ~/.cache/backstay'

# A machine without uv gets one of its own, in the cache.
$(CACHE)/uv/bin/uv:
	@echo "uv is missing: installing it into $(CACHE)/uv" >&2
	@python3 -m venv $(CACHE)/uv || { echo "python3 with venv is missing: apt-get install python3-venv" >&2; exit 1; }
	@$(CACHE)/uv/bin/pip install --quiet --disable-pip-version-check uv

setup: $(UV) ## install or name what is missing on this machine
	@$(UV) sync --frozen --inexact --quiet --compile-bytecode
	@$(RUN) python hack/prepare.py

demo: setup ## the whole path: from kubectl apply to confirmed recovery points; stops what it started
	@$(RUN) python hack/demo.py

up: setup ## start the ZFS hosts, the control plane and the operator; what runs stays
	@$(WORLDS) up

down: $(UV) ## stop what `up` started; what was built stays
	@$(WORLDS) down

env: $(UV) ## print exports: eval "$(make -s env)"
	@$(WORLDS) env

operator-start: $(UV) ## start the operator again, for instance after kill -9
	@$(WORLDS) operator-start

generate: $(UV) ## write the generated files (CRDs, docs) anew
	@$(RUN) python hack/generate.py

fmt: $(UV) ## format the code and repair what the linter can
	@$(RUN) ruff format
	@$(RUN) ruff check --fix

check: $(UV) ## format, lint, types, rooms, limits, generated files, chart
	@$(RUN) ruff format --check
	@$(RUN) ruff check
	@$(RUN) mypy
	@$(RUN) lint-imports
	@$(RUN) python hack/tidy.py
	@$(RUN) python hack/generate.py --check
	@$(WORLDS) chart-lint

test-fast: setup check ## check, unit and property tests: seconds
	@$(RUN) python hack/tiers.py fast

test: setup check ## check and every tier of tests, on real hosts and a real API server
	@$(RUN) python hack/tiers.py all

sim-long: setup ## 5,000,000 steps of random faults on fake hosts in virtual time; hours
	@PYTHONPATH=tests $(UV) run --frozen python -m sim.long $(if $(SEED),--seed $(SEED)) $(if $(STEPS),--steps $(STEPS))

bench: setup ## the figures: measured against bzfs on the same hosts in the same run
	@$(RUN) --group bench python benchmarks/run.py
