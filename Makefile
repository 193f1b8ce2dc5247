# The two commands: `make demo` and `make test`. Both set up .venv first and need only Python 3.10 to 3.13.
SHELL := /bin/bash
IN_RANGE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c '$(IN_RANGE)' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
PHOTOS := calibration/volo_cifar10/validation
DEMO := demo

.PHONY: demo test quick lint tools schema constraints hostile mutants benchmark clean

demo: .venv/installed  ## Convert the demo model for both targets, classify photographs with the file, judge both files
	$(BIN)/volo-edge convert --target executorch --output $(DEMO)/executorch --force
	$(BIN)/volo-edge convert --target coreml --output $(DEMO)/coreml --force
	$(BIN)/volo-edge predict $(DEMO)/executorch $(PHOTOS)/{cat,frog,ship,truck}/0002.jpg
	$(BIN)/volo-edge evaluate $(DEMO)/executorch $(DEMO)/coreml --data $(PHOTOS) --output $(DEMO)/report --force

# Conversions are Python on one core: two at a time, each with a thread of its own.
test: lint tools  ## Everything that CI runs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2

quick: lint  ## The tests that take seconds
	$(BIN)/python -m pytest -m "not slow"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

tools:  ## What compiles the apps' cores and checks the apps
	@bash tests/kotlin_tools.sh .tools
	@bash tests/swift_tools.sh .tools

schema: .venv/installed  ## Write the published JSON Schemas anew
	$(BIN)/python -m volo_edge.artifact > docs/manifest.schema.json
	$(BIN)/python -m volo_edge.trained > docs/architecture.schema.json
	$(BIN)/python -m volo_edge.device_results > docs/device-results.schema.json
	$(BIN)/python -m volo_edge.report.contents > docs/report.schema.json

constraints:  ## The newest versions of everything, in .venv; tested and committed, they are what CI installs
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python .ci/constraints.py > constraints.new
	mv constraints.new constraints.txt
	touch .venv/installed

hostile: .venv/installed  ## 50,000 harmful files and 200 failing disks: docs/reliability.md; two hours
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.hostile.campaign

mutants: .venv/installed  ## Faults put into the code on purpose, one at a time: which do the tests notice; 20 minutes
	$(BIN)/python -m tests.mutants

benchmark: .venv/installed  ## VOLO-D1 beside every other runtime that executes it, and D1 to D5: 40 minutes
	$(BIN)/python -m pip install --quiet --editable '.[dev,bench]'
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/scale.py

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "volo-edge needs Python 3.10 to 3.13; pass PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .tools $(DEMO) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
