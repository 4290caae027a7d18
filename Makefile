PYTHON ?= python3
ENV := .venv/bin/vila_env

.PHONY: setup test demo lint bench clean

setup:
	@$(PYTHON) scripts/setup_env.py

test: setup lint
	@$(ENV) python -m pytest $(ARGS)

lint: setup
	@$(ENV) ruff check .
	@$(ENV) ruff format --check .
	@$(ENV) mypy

demo: setup
	@$(ENV) python -m vila_ros.nodes.demo $(if $(BAG),--bag "$(BAG)") $(if $(MODEL),--model "$(MODEL)") \
	$(if $(SEED),--seed "$(SEED)") $(if $(OPEN),--open)

bench: setup
	@failed=; for script in benchmarks/[a-z]*.py; do echo "== $$script"; \
	$(ENV) python $$script || failed="$$failed $$script"; done; \
	if [ -n "$$failed" ]; then echo "missed their targets:$$failed"; exit 1; fi

clean:
	rm -rf build install log .venv .setup.lock
