# make run and make test set everything up by themselves; nothing else is needed on a fresh machine.
.PHONY: setup run lint test test-hub test-long bench starter

PYTHON := $(shell for p in python3.11 python3.12 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo "$$p" && break; done)
BIN := .venv/bin
STAMP := .venv/installed
# More files of tests at a time than cores: many tests wait for processes. One thread per process: OpenMP threads that
# outnumber the cores slow each other down.
FILES_AT_ONCE := 4
PYTEST = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(FILES_AT_ONCE) --dist loadfile --no-loadscope-reorder

setup: $(STAMP)
	@command -v chromium >/dev/null || $(MAKE) --no-print-directory chromium || true

$(STAMP): requirements.txt requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; install one of them and run make again."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	@touch $@

.PHONY: chromium
chromium:
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then SUDO=; \
	elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then SUDO=sudo; \
	else echo "Chromium is missing, so the browser tests will be skipped; install it as /usr/bin/chromium."; exit 0; fi; \
	$$SUDO apt-get update -qq && \
	$$SUDO apt-get install -y -qq chromium fonts-dejavu-core fonts-noto-color-emoji >/dev/null

run: setup
	$(BIN)/python app.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

test: setup
	$(PYTEST) -m "not slow"

# What talks to Hugging Face: publishing and cards, sign-in, Spaces and their money, Jobs, bases, imports, the mirror.
HUB_TESTS := tests/hub $(addprefix tests/jobs/, mirror money publishing remote) tests/test_mirrored_app.py \
	tests/test_fault_table.py tests/test_packaging.py \
	$(addprefix tests/jobs/test_, bringing_in.py hub_words.py import_wishes.py photo_keeping.py preflight.py) \
	$(addprefix tests/ui/test_, keeping_notice.py place.py sign_in.py space_banner.py train_page.py) \
	$(addprefix tests/engine/test_, base_download.py bringing_in.py extract.py formats.py single_file_base.py) \
	tests/trainer/test_bases.py tests/trainer/imports tests/inference/test_hub_concepts.py

test-hub: setup
	$(PYTEST) -m "not slow" $(HUB_TESTS)

test-long: setup
	$(PYTEST)

bench: setup
	$(BIN)/python -m tests.benchmarks

starter: setup
	$(BIN)/python -m trainer.starter
