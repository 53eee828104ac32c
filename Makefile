# BloomWeaver. `make help` lists what there is; every target sets up what it needs first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Without bytecode every start of the command line compiles its imports again.
unexport PYTHONDONTWRITEBYTECODE

DIR ?= docs
SEED ?=
N ?= 10000
FIRST ?= 1
BUDGET ?=
# Where the simulator writes its figures as JSON.
REPORT ?=
JOBS ?= 2
# Options for every pytest run, e.g. PYTEST_FLAGS="-x -k tombstone".
PYTEST_FLAGS ?=
# What images are called, and what they are made of beyond services/images.conf.
TAG ?= 0.1.0
REPOSITORY ?= bloomweaver
MORE ?=
BASE ?=
BIN := .venv/bin
# A file at a time: what a file shares (a server, a loaded model) is made once for it. tests/conftest.py orders them.
PARALLEL := -n $(JOBS) --dist loadfile --no-loadscope-reorder
FAST_RINGS := $(wildcard tests/unit tests/contract tests/golden tests/integration)
SIMULATE := $(BIN)/python -m tests.simulation.run

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use it
.PHONY: setup usable try dev
setup: .venv/.dev ## make .venv with everything that tests need (the first run downloads about 320 MB)
	@:

.venv/.dev: pyproject.toml scripts/setup $(wildcard requirements/*.lock)
	@scripts/setup .venv requirements/dev.lock requirements/model.lock
	@touch .venv/.local

# What `try` and `dev` need is a part of it, a third of the size.
usable: .venv/.local
	@:

.venv/.local: pyproject.toml scripts/setup $(wildcard requirements/*.lock)
	@scripts/setup .venv requirements/local.lock requirements/model.lock

try: usable ## ingest DIR=docs, search it, edit it, delete from it: the whole promise in one minute
	@$(BIN)/bloomweaver try $(DIR)

dev: usable ## the whole service on this machine, continuing from what `make try` left
	@$(BIN)/bloomweaver dev

##@ Test it
.PHONY: test fast backends test-backends storm check sim sim-full test-torch golden-update docs-check bench bench-server bench-encoder
test: fast ## every fast ring: unit, contract, golden, integration, then 4 minutes of simulation
	@$(SIMULATE) --budget-seconds 240 --jobs $(JOBS) $(addprefix --json ,$(REPORT))

fast: setup ## the same without the simulation
	@$(BIN)/pytest $(PARALLEL) $(FAST_RINGS) $(PYTEST_FLAGS)

backends: setup ## fetch and build the servers that the tests run against, where they can be had (into .servers)
	@$(BIN)/python -m tests.support.servers prepare

test-backends: backends ## every port against every real server that can be had here; what is missing is counted apart
	@$(BIN)/pytest $(PARALLEL) tests/contract $(wildcard tests/integration/backends) $(PYTEST_FLAGS)

storm: setup ## kill real processes and their servers under 50,000 events: 20 minutes; writes its figures to the docs
	@nice -n 5 $(BIN)/python -m tests.storm.run --write docs/concepts/proof.md

check: setup ## linter, format, types, the wall between packages, the rules of the house
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo && $(BIN)/pytest -q tests/unit/test_house.py $(PYTEST_FLAGS)

sim: setup ## replay one simulated history, readably: make sim SEED=n
	@$(SIMULATE) --seed $(if $(SEED),$(SEED),$(error give a seed: make sim SEED=1))

sim-full: setup ## many simulated histories: make sim-full N=10000 FIRST=1 BUDGET=900, the most seconds it may take
	@$(SIMULATE) --histories $(N) --first $(FIRST) --jobs $(JOBS) $(addprefix --seconds ,$(BUDGET)) $(addprefix --json ,$(REPORT))

test-torch: setup .venv-torch/.torch ## compare vectors with sentence-transformers (an environment of its own, 6 GB)
	@.venv-torch/bin/pytest tests/torch $(PYTEST_FLAGS)

.venv-torch/.torch: pyproject.toml scripts/setup $(wildcard requirements/*.lock)
	@scripts/setup .venv-torch requirements/torch.lock requirements/model.lock

.PHONY: crds
crds: setup ## write k8s/crds anew from the controller's types
	@$(BIN)/python -m bloomweaver.controller.schema > k8s/crds/embeddingmodel.yaml

golden-update: setup ## rewrite the golden files; read the diff before you commit it
	@BLOOMWEAVER_GOLDEN_UPDATE=1 $(BIN)/pytest -q $(shell grep -rl 'import golden' tests --include='test_*.py') $(PYTEST_FLAGS)
	@git diff --stat -- tests/golden

docs-check: setup ## links in the docs lead somewhere; every command, variable, metric and reason is documented
	@$(BIN)/pytest -q tests/unit/test_documentation.py $(PYTEST_FLAGS)

bench: setup ## measure, and write docs/reference/benchmarks.md (never part of a test)
	@$(BIN)/python -m benchmarks.run

bench-server: setup ## the same for one server: PostgreSQL, queues and vector stores that can be had here (8 minutes)
	@$(BIN)/python -m benchmarks.run server_accepts server_search server_vectors server_queues server_memory server_limits

bench-encoder: setup .venv-torch/.torch ## the encoder beside other libraries, and what its arithmetic costs in ranking (30 minutes)
	@$(BIN)/python -m benchmarks.run cold_starts embedders retrieval encoder_paths

##@ On a cluster
.PHONY: e2e e2e-storm
e2e: setup ## install on the cluster of KUBECONFIG and put it through its life (docs/howto/kubernetes.md says what else to set)
	@$(BIN)/pytest -s --with-e2e tests/e2e $(PYTEST_FLAGS)

e2e-storm: setup ## the same with at least 100 pods killed
	@BLOOMWEAVER_E2E_KILLS=100 $(BIN)/pytest -s --with-e2e tests/e2e/test_01_install.py tests/e2e/test_04_kills.py $(PYTEST_FLAGS)

##@ Ship it
.PHONY: images image-sizes chart-check
images: ## build every image with Docker: TAG=0.1.0 REPOSITORY=bloomweaver MORE=chroma BASE=… BUILD_FLAGS=--network=host
	@REPOSITORY=$(REPOSITORY) MORE=$(MORE) BASE=$(BASE) scripts/images $(TAG)

image-sizes: setup ## what each image adds to its base, compressed: the table of docs/reference/images.md; needs no Docker
	@scripts/image-sizes

chart-check: setup ## lint the chart, render it for a matrix of values, check every object, compare with k8s/rendered
	@$(BIN)/pytest -q tests/golden/chart $(PYTEST_FLAGS)

##@ Keep it
.PHONY: format lock clean
format: setup ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

lock: setup ## resolve the dependencies again (UPGRADE=--upgrade for newer versions)
	@scripts/lock $(UPGRADE)

clean: ## remove what was built or ingested here, the environments included
	@rm -rf .venv .venv-torch .uv .bloomweaver dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
