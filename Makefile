# make demo : the main job, from one marked scan to a report.   make test : every check that CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where the labelled sets lie, for training and evaluation; tests that need them say so when they are not there.
DATA ?= ../shared/data
STRATEGY ?= one-shot
# How many damaged and forged files `make fuzz` tries.
N ?= 100000
# How many processes train together, and the threads of each.
PROCESSES ?= 1
THREADS ?= $(shell echo $$(( $$(nproc 2>/dev/null || echo 2) / $(PROCESSES) )))

.PHONY: help install demo test lint types evaluate reproduce train fuzz clean

help:
	@echo "make demo      mark one scan, segment others, write a report (about 2 minutes)"
	@echo "make test      all checks"
	@echo "make slow      tests that take minutes"
	@echo "make benchmark speed and memory on this machine"
	@echo "make evaluate  Dice on the test split of DATA=$(DATA)"
	@echo "make reproduce the paper's tables and figures at our scale, in runs/reproduced (hours: networks are trained)"
	@echo "make fuzz      N=$(N) damaged and forged files into everything that reads files"
	@echo "make train     train the network on DATA=$(DATA), or go on where it stopped"

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (make PYTHON=python3.12 ...)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

demo: install
	$(BIN)/python Testing/Demo/demo.py --output demo-output

test: install lint types
	$(BIN)/python -m pytest -m "not slow"

lint: install
	$(BIN)/ruff check IrisSegment IrisSegmentLib Testing

types: install
	$(BIN)/mypy

slow: install
	$(BIN)/python -m pytest -m slow --timeout 3600

benchmark: install
	@mkdir -p runs
	$(BIN)/irissegment benchmark --json runs/benchmark.json

evaluate: install
	@mkdir -p runs
	$(BIN)/irissegment evaluate --data $(DATA) --split test --strategy $(STRATEGY) --json runs/$(STRATEGY).json

reproduce: install
	$(BIN)/irissegment reproduce all --data $(DATA) --output runs/reproduced

train: install
	OMP_NUM_THREADS=$(THREADS) nice -n 10 $(BIN)/torchrun --standalone --nproc-per-node $(PROCESSES) \
		-m IrisSegmentLib train --data $(DATA) --output runs/small

fuzz: install
	@mkdir -p runs
	$(BIN)/python Testing/faults/fuzz.py --count $(N) --json runs/fuzz.json

clean:
	rm -rf $(VENV) demo-output build
