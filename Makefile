# make run and make test set everything up by themselves; nothing else is needed on a fresh machine.
.PHONY: setup run lint test test-hub test-long bench starter

PYTHON := $(shell for p in python3.11 python3.12 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
# What the app needs, and what is needed besides to check it.
APP := .venv/installed
ALL := .venv/installed-dev
# More files of tests at a time than cores: many tests wait for processes. One thread per process: OpenMP threads that
# outnumber the cores slow each other down.
FILES_AT_ONCE := 4
PYTEST = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(FILES_AT_ONCE) --dist loadfile --no-loadscope-reorder

setup: $(ALL)
	@command -v chromium >/dev/null || $(MAKE) --no-print-directory chromium || true

$(APP): requirements.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; install one of them and run make again."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	@touch $@

$(ALL): $(APP) requirements-dev.txt
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	@touch $@

.PHONY: chromium
chromium:
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then SUDO=; \
	elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then SUDO=sudo; \
	else echo "Chromium is missing, so the browser tests will be skipped; install it as /usr/bin/chromium."; exit 0; fi; \
	$$SUDO apt-get update -qq && \
	$$SUDO apt-get install -y -qq chromium fonts-dejavu-core fonts-noto-color-emoji >/dev/null

run: $(APP)
	$(BIN)/python app.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

test: setup
	$(PYTEST) -m "not slow"

# What talks to Hugging Face, or reads what was made for it, by what a test imports.
HUB_TESTS = $(shell grep -rlE 'ui\.owners|tests\.hub|jobs\.(hub|mirror|money|publishing|remote)\b|trainer\.(engine\.)?imports\b' \
	tests --include='test_*.py')

test-hub: setup
	$(PYTEST) -m "not slow" $(HUB_TESTS)

test-long: setup
	$(PYTEST)

bench: setup
	$(BIN)/python -m tests.benchmarks

starter: setup
	$(BIN)/python -m trainer.starter
