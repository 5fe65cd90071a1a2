# make demo : the main job, from one marked scan to a report.   make test : every check that CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where the labelled sets lie, for training and evaluation; tests that need them say so when they are not there.
DATA ?= ../shared/data
# Which faults, or damaged files.
SEED ?= 0
STRATEGY ?= one-shot
# Tests run in so many processes, each with one thread: the files are shared out, what a file sets up is set up once.
JOBS ?= 2
# How many processes train together, and the threads of each.
PROCESSES ?= 1
THREADS ?= $(shell echo $$(( $$(nproc 2>/dev/null || echo 2) / $(PROCESSES) )))

.PHONY: help install demo screenshots test lint types evaluate reproduce train clean faults fuzz geometry licences audit batch-bench batch-attack batch-thousand soak large rebuild

help:
	@echo "make demo      mark one scan, segment others, write a report (about 2 minutes)"
	@echo "make screenshots every picture of the README, from the real panel"
	@echo "make test      all checks"
	@echo "make slow      tests that take minutes"
	@echo "make faults    N=1000 seeded faults around the worker, by kind"
	@echo "make batch-bench N=300      throughput of batches: Ray with two actors, with one, and without Ray"
	@echo "make batch-attack N=20      kill -9 at random moments of batches: what is left must be right"
	@echo "make batch-thousand N=1000  memory of a long batch, Ctrl-C and going on"
	@echo "make soak      N=500 targets through one worker in one scene: memory, leftovers, answers"
	@echo "make large     a 512x512x600 CT and 40 classes on 8 GB: time and memory"
	@echo "make rebuild   how much of a scan can be rebuilt from what a preset keeps of it (MINUTES=14 of learning)"
	@echo "make geometry  500 random grids against SimpleITK"
	@echo "make licences  the license of every dependency"
	@echo "make audit     known holes of every dependency (asks the web)"
	@echo "make benchmark speed and memory on this machine"
	@echo "make evaluate  Dice on the test split of DATA=$(DATA)"
	@echo "make reproduce the paper's tables and figures at our scale, in runs/reproduced (hours: networks are trained)"
	@echo "make fuzz      N=100000 damaged and forged files into everything that reads files"
	@echo "make train     train the network on DATA=$(DATA), or go on where it stopped"

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (make PYTHON=python3.12 ...)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

demo: install
	$(BIN)/python Testing/Demo/demo.py --output demo-output

screenshots: install
	PYTHONPATH=.:Testing $(BIN)/python Testing/Screenshots/screenshots.py

test: install lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n $(JOBS) --dist loadfile

lint: install
	$(BIN)/ruff check IrisSegment IrisSegmentLib Testing

types: install
	$(BIN)/mypy

slow: install
	$(BIN)/python -m pytest -m slow --timeout 3600

faults: install
	PYTHONPATH=.:Testing $(BIN)/python Testing/faults/bench.py $(or $(N),1000) $(SEED)

batch-bench: install
	PYTHONPATH=.:Testing $(BIN)/python Testing/batch/bench.py --cases $(or $(N),300) --data $(DATA)

batch-attack: install
	PYTHONPATH=.:Testing $(BIN)/python Testing/batch/attack.py --moments $(or $(N),20) --seed $(SEED)

batch-thousand: install
	PYTHONPATH=.:Testing $(BIN)/python Testing/batch/thousand.py --cases $(or $(N),1000)

soak: install
	$(BIN)/python Testing/soak/soak.py $(or $(N),500)

large: install
	@mkdir -p runs
	$(BIN)/python Testing/large/large.py --json runs/large.json

rebuild: install
	PYTHONPATH=. $(BIN)/python Testing/privacy/rebuild.py --data $(DATA) --minutes $(or $(MINUTES),14)

geometry: install
	IRIS_EXAMPLES=500 $(BIN)/python -m pytest Testing/geometry --timeout 7200

licences: install
	$(BIN)/python Testing/licences.py

audit: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m pip_audit --skip-editable

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
	$(BIN)/python Testing/faults/fuzz.py --count $(or $(N),100000) --json runs/fuzz.json

clean:
	rm -rf $(VENV) demo-output build
