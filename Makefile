# Targets for users and developers; `make help` lists them.  Nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out

.DEFAULT_GOAL := help
.PHONY: help install demo day gallery test fast lint types check format golden bench table clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed ## make the environment and install jevons with everything it can use

$(VENV)/.installed: setup.cfg pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "jevons needs Python 3.11 or later: install it, or name it with make PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "jevons needs Python 3.11 or later, not $$($(PYTHON) -V): make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python has no venv module: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	@touch $@

demo: install ## the main job: what did the DeepSeek shock do to the demand for GPUs?
	$(BIN)/jevons simulate scenarios/deepseek.toml -o $(OUT)/deepseek

day: install ## one served day of DeepSeek's fleet against what was published
	$(BIN)/jevons simulate scenarios/deepseek_day.toml -o $(OUT)/deepseek_day

gallery: install ## every scenario against the main one, and the table of them in the README
	$(BIN)/jevons gallery scenarios/*.toml -o $(OUT)/gallery.md
	$(BIN)/python -m jevons.report.manual README.md

test: install ## every test, doctests and the README's examples included
	$(BIN)/python -m pytest

fast: install ## the tests without the slow ones
	$(BIN)/python -m pytest -m 'not slow'

lint: install ## ruff
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: install ## mypy, strict
	$(BIN)/mypy

check: lint types test ## all that must pass before a commit

format: install ## format the code
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

golden: install ## rewrite the golden outputs
	$(BIN)/python -m pytest tests/test_golden.py --update-golden

bench: install ## the serving engines against SimPy, Ciw, salabim and C: processor time, memory, every departure
	$(BIN)/python -m benchmarks.speed

table: install ## rewrite the generated tables of the README
	$(BIN)/python -m jevons.report.manual README.md

clean: ## remove the environment and the outputs
	rm -rf $(VENV) $(OUT) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
