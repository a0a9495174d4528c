# make run | test | dashboard: each creates .venv and installs what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY ?=
RESULTS ?= results
PORT ?= 8501
SEED ?= 0
FAULTS ?= 300
RAY_FAULTS ?= 40

.PHONY: run test test-cluster dashboard plan docs format check coverage bench-quick faults faults-ray load soak audit fuzz clean

run: $(VENV)/installed
	$(BIN)/python -m bench.run $(STUDY) --results $(RESULTS)

plan: $(VENV)/installed
	$(BIN)/bench plan $(STUDY) --results $(RESULTS)

dashboard: $(VENV)/installed
	$(BIN)/bench dashboard --results $(RESULTS) --port $(PORT)

test: $(VENV)/installed-test
	$(BIN)/ruff check bench dashboards tests benchmarks
	$(BIN)/ruff format --check bench dashboards tests benchmarks
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not cluster"

# A real `ray up` over three hosts made of namespaces: some minutes, as root, with nothing else running.
test-cluster: $(VENV)/installed-test
	$(BIN)/python -m pytest -m cluster

# How often the nominal 95 % intervals cover, by simulation; the table is in docs/statistics.md.
coverage: $(VENV)/installed-test
	$(BIN)/python benchmarks/coverage.py

# Hundreds of faults injected into real processes; the table is in docs/reliability.md.
faults: $(VENV)/installed-test
	$(BIN)/python -m tests.faults --seed $(SEED) --faults $(FAULTS)

# The same under Ray, and of clusters of several nodes on this machine: about a minute for every fault.
faults-ray: $(VENV)/installed-test
	$(BIN)/python -m tests.faults --ray --seed $(SEED) --faults $(RAY_FAULTS)

# 20 writers and 5 readers of one store; 20 browsers on a million rows while a study writes.
load: $(VENV)/installed-test
	$(BIN)/python -m tests.load --json build/load-store.json store
	$(BIN)/python -m tests.load --json build/load-dashboard.json dashboard

# One study for half an hour, a fault in every minute, compared with one that nobody disturbed.
soak: $(VENV)/installed-test
	$(BIN)/python -m tests.load --json build/soak.json soak --minutes 30 --seed $(SEED)

# A corner of every benchmark: ratios beside those of benchmarks/quick.json; names what fell by more than 20 %.
bench-quick: $(VENV)/installed-bench
	$(BIN)/python benchmarks/quick.py

# The manual as a site: build/site/index.html; a warning is an error.
docs: $(VENV)/installed-test
	$(BIN)/mkdocs build --strict

# bandit over the code; pip-audit over what is installed, which asks an advisory database on the network.
audit: $(VENV)/installed-test
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[audit]'
	$(BIN)/bandit -q -c pyproject.toml -r bench dashboards
	$(BIN)/pip-audit --skip-editable

# Bad input, 104,000 of it: what became of it, as JSON (docs/reliability.md).
fuzz: $(VENV)/installed-test
	$(BIN)/python -m tests.fuzz --seed 0 --inputs 104000

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix bench dashboards tests benchmarks
	$(BIN)/ruff format bench dashboards tests benchmarks

# requirements.lock is used as constraints: the same versions everywhere, only the packages each platform has.
$(VENV)/installed: pyproject.toml requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-bench: pyproject.toml requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[bench]'
	@touch $@ $(VENV)/installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "$(PYTHON) -m venv failed; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade pip

clean:
	rm -rf $(VENV) results
