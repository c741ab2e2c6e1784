# Two commands do all the set-up: `make serve` and `make test`.

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
DATA ?= data
EVALUATION ?= evaluation

ENGINE_VENV ?= .venv-engine

BIN := $(VENV)/bin
ENGINE_BIN := $(ENGINE_VENV)/bin

.DEFAULT_GOAL := help

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## Create the virtual environment and install the service in it

$(VENV)/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not installed; Python 3.11 or later is needed" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or later is needed, this is $$($(PYTHON) --version)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	# First and by itself, so that an index with a CPU build can provide it.
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test,train]'
	@touch $@

serve: install ## Serve on 127.0.0.1:PORT with the profiles in DATA; the demo profiles if there are none
	@$(BIN)/pr2 serve --demo --port $(PORT) --data $(DATA)

test: $(VENV)/.installed-test ## Lint, check types, run the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist worksteal

test-fast: $(VENV)/.installed-test ## Run the tests that need no encoder and train nothing
	OMP_NUM_THREADS=1 $(BIN)/pytest -q --numprocesses auto -m "not slow and not wheel and not retrievers and not learning and not crash" --hypothesis-profile fast

test-crash: $(VENV)/.installed-test ## Kill a process that writes 300 times on SQLite, and 100 times on PostgreSQL
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -s -m crash tests/index/storage/test_crash.py

test-wheel: $(VENV)/.installed-test ## Build the wheel, install it in an empty environment, and use it there
	$(BIN)/pytest -q -m wheel tests/wheel

$(ENGINE_VENV)/.installed: tests/engines/requirements.txt tests/engines/constraints.txt
	$(PYTHON) -m venv $(ENGINE_VENV)
	$(ENGINE_BIN)/pip install --quiet --constraint tests/engines/constraints.txt --requirement tests/engines/requirements.txt
	# Its full installation needs a GPU's compiler.
	$(ENGINE_BIN)/pip install --quiet --constraint tests/engines/constraints.txt --no-deps openrlhf
	# Builds for a GPU, which fail to load without one.
	$(ENGINE_BIN)/pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
	@touch $@

# One thread: two of them spin for each other on a busy machine, and take ten times as long.
test-engines: $(VENV)/.installed $(ENGINE_VENV)/.installed ## Run whole episodes through vLLM itself, without a GPU
	OMP_NUM_THREADS=1 PR2=$(BIN)/pr2 $(ENGINE_BIN)/python -m pytest tests/engines --confcutdir=tests/engines -W ignore

test-openrlhf: $(ENGINE_VENV)/.installed ## Train through OpenRLHF's own command line, without a GPU
	@command -v c++ >/dev/null || { echo "make: a C++ compiler is needed, with which DeepSpeed builds its optimizer" >&2; exit 1; }
	# In a shared folder, the lock of a compilation that was killed stops every later run.
	TORCH_EXTENSIONS_DIR=$(CURDIR)/$(ENGINE_VENV)/torch_extensions \
	OMP_NUM_THREADS=1 PYTHONPATH=tests/openrlhf/shims:. $(ENGINE_BIN)/python -m pytest tests/openrlhf --confcutdir=tests/openrlhf -W ignore

evaluate: $(VENV)/.installed ## Evaluate four methods on the sample data set, without a model, into EVALUATION
	@for method in none rag-random rag pr2; do \
		echo "$$method:" && \
		$(BIN)/pr2 evaluate --dataset sample --method $$method --top-k 10 --out $(EVALUATION)/$$method || exit 1; \
	done
	@$(BIN)/pr2 evaluate report $(EVALUATION)/none $(EVALUATION)/rag-random $(EVALUATION)/rag $(EVALUATION)/pr2

train-demo: $(VENV)/.installed-test ## Train a tiny model through the service's own episodes, three seeds, without a GPU
	$(BIN)/python -m training.demo --seeds 0 1 2 --out train-demo

train-prlm: $(VENV)/.installed-test ## Train with and without PrLM's reward model in a made world, five seeds, without a GPU
	OMP_NUM_THREADS=1 $(BIN)/python -m training.demo.prlm --seeds 0 1 2 3 4 --out train-prlm

test-learning: $(VENV)/.installed-test ## Run a small train-demo, one seed, and require that it learns
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -m learning tests/training/demo

test-retrievers: $(VENV)/.installed-test ## Train retrievers and selectors in made worlds with known answers, three seeds, without a GPU
	OMP_NUM_THREADS=1 $(BIN)/python -m training.retriever.demo
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -rP -m retrievers --numprocesses auto tests/training/selector

test-reward-model: $(VENV)/.installed-test ## Train reward models in a made world with known answers, three seeds, without a GPU
	OMP_NUM_THREADS=1 $(BIN)/python -m training.reward_model.demo

bench: $(VENV)/.installed-test ## Measure speed, and quality on the shipped histories
	$(BIN)/python -m benchmarks.locomo --data benchmarks/data/sessions.json
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.episodes
	$(BIN)/python -m benchmarks.fairness
	$(BIN)/python -m benchmarks.concurrency
	$(BIN)/python -m benchmarks.auto

clean: ## Remove the virtual environment and caches; DATA is kept
	rm -rf $(VENV) $(ENGINE_VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

.PHONY: help install serve test test-fast test-crash test-wheel test-engines test-openrlhf evaluate train-demo train-prlm test-learning test-retrievers test-reward-model bench clean
