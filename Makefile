# `make demo` and `make test` set up everything in .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT := demo_output
DATASET := nbody_gravity/n20
RUN := $(BIN)/python -m nbody_bench.run --dataset=$(DATASET) --data_dir=$(OUT)/data
BOARD := $(BIN)/python -m nbody_bench.leaderboard --data_dir=$(OUT)/data --board=$(OUT)/board

.PHONY: demo test slow clean

# Data, training, roll-out, scores, submission, re-scoring, page.
demo: $(VENV)/.installed
	rm -rf $(OUT)
	$(RUN) --model=ballistic --output_dir=$(OUT)/ballistic
	$(RUN) --model=leapfrog --output_dir=$(OUT)/leapfrog
	$(RUN) --model=delta_gn --output_dir=$(OUT)/delta_gn \
	  --train_steps=6000 --batch_size=16 --config.normalize \
	  --recipe.learning_rate=1e-3 --recipe.schedule=cosine \
	  --recipe.warmup_steps=200 --recipe.clip_norm=1
	for m in ballistic leapfrog delta_gn; do \
	  $(BOARD) submit $(OUT)/$$m/submission || exit 1; done
	$(BOARD) build --out=$(OUT)/page

test: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal

# The tests that take more than a few seconds each.
slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nbody_bench needs Python 3.11 or later; set PYTHON=... to one")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python setup.py
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	touch $@
