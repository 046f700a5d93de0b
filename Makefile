# moebench. `make demo` and `make test` set up what they need themselves.
PYTHON ?= python3
BIN := .venv/bin
MOEBENCH := $(BIN)/moebench
PYTEST := $(BIN)/python -m pytest
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n < 4 ? n + 1 : 5)))

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint bench fidelity clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## make .venv with the engine for this machine (MOEBENCH_DEVICE=cpu|cuda overrides)
	@$(PYTHON) -I harness/bootstrap.py

# A model that failed is a row of the page (exit 3), so the page is still made, and the code is passed on.
demo: setup ## benchmark the pocket suite and make its page: site/index.html
	@$(MOEBENCH) run suites/pocket.yaml; status=$$?; \
	case $$status in 0|3) ;; *) exit $$status ;; esac; \
	$(MOEBENCH) report --suite pocket --out site || exit $$?; \
	echo; echo "The page: $(CURDIR)/site/index.html"; exit $$status

# An engine waits for itself half of the time, so that one worker more than there are cores is busy. Files are taken as
# tests/conftest.py orders them, the engine's first.
test: setup lint ## lint, types, import rules and every test
	@$(PYTEST) --benchmark-disable -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "engine or not browser"
	@$(PYTEST) --benchmark-disable -n 2 --dist worksteal -m "browser and not engine"

# What a change of ordinary code needs, in under a minute.
test-fast: setup ## the tests without engine, browser, torch, simulations, fresh processes and whole sites, with fewer examples
	@$(PYTEST) --benchmark-disable -n auto --maxprocesses 4 --dist loadfile -m "not engine and not browser and not torch and not slow" \
		--hypothesis-profile fast \
		--ignore-glob="*_torch.py" --ignore=tests/engine --ignore=tests/browser --ignore=tests/benchmarks

lint: setup ## ruff, mypy --strict and the import rules
	@$(BIN)/ruff check harness tests
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: setup ## the benchmarks of moebench's own code
	@$(PYTEST) --benchmark-only -p no:randomly tests/benchmarks

fidelity: setup ## compare with vLLM's own benchmark and the lm_eval command
	@$(BIN)/python -m harness.fidelity

clean: ## remove the page, caches and the environment; results stay
	@rm -rf site dist .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .grimp_cache .hypothesis .benchmarks
	@find harness tests -name __pycache__ -type d -prune -exec rm -rf {} +
