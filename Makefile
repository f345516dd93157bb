# make setup   environment in .venv with vidflow (editable) and the test and lint tools
# make demo    the whole job on the embedded data set: write, pack, train, evaluate, predict; a few minutes on two cores
# make test    all tests;  make test ARGS="tests/shards -k tar"  some of them;  VIDFLOW_LONG=1 make test  the long ones too
# make lint    ruff and mypy
# make clean   removes what demo, builds and tools have written; the environment stays

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
BIN := $(VENV)/bin
# Accelerate's launcher and the commands are looked up in the environment first.
export PATH := $(abspath $(BIN)):$(PATH)

# Named by what the environment was made from, so that a second run does nothing, without a network too, and a changed
# file or a moved checkout installs again.
KEY := $(shell { cat pyproject.toml setup.py constraints.txt; echo $(CURDIR) $(PYTHON); } | cksum | cut -d ' ' -f 1)
STAMP := $(VENV)/.setup-$(KEY)

.PHONY: setup demo test lint clean

setup: $(STAMP)

$(STAMP):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vidflow needs Python 3.11 or later; name one: make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt setuptools
	$(BIN)/python -m pip install -c constraints.txt --no-build-isolation -e '.[test,lint]'
	rm -f $(VENV)/.setup-*
	touch $@

# Accelerate's own defaults, named so that it does not remark on them.
LAUNCH := $(BIN)/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no
CLIPS := data/demo
SHARDS := data/demo-shards

# Each step keeps what is there already, so an interrupted demo goes on where it was.
demo: setup
	$(BIN)/vidflow demo-data --out $(CLIPS)
	$(BIN)/vidflow shard --src $(CLIPS) --out $(SHARDS)
	$(BIN)/vidflow inspect $(SHARDS)
	$(LAUNCH) experiments/train.py --cfg tsm-demo.toml --set data.root=$(SHARDS) --resume
	$(LAUNCH) experiments/train.py --cfg tsn-demo.toml --set data.root=$(SHARDS) --resume
	$(LAUNCH) experiments/test.py --run runs/tsm-demo --dump runs/tsm-demo/scores.parquet
	$(LAUNCH) experiments/test.py --run runs/tsn-demo --dump runs/tsn-demo/scores.parquet
	$(BIN)/vidflow predict $(CLIPS)/val/left/000.mp4 $(CLIPS)/val/turn/000.mp4 --run runs/tsm-demo --top 3
	@echo
	@$(BIN)/python experiments/demo_report.py runs/tsm-demo runs/tsn-demo

test: setup
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache data/demo data/demo-shards runs/tsm-demo runs/tsn-demo
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
