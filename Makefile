# RevSync. `make help` lists the targets. Only Python 3.11 (with its venv module), make and git are needed.
PYTHON ?= python3
BIN := .venv/bin
BASE_URL ?= http://127.0.0.1:$(or $(PORT),8000)
REVSYNC_DATA_DIR ?= .data
export PORT REVSYNC_DATA_DIR REVSYNC_PUBLIC_HOST

.DEFAULT_GOAL := help
.PHONY: help install install-dev run test test-long demo demo-tuner demo-money drill vectors verifiers faults relevance bench bench-enumeration lint types layers openapi examples openapi-check schemathesis schemathesis-long client-ts virtual-bench debian-check migrations-check admin-hostile compose-env requirements doctor logs clean restore-drill

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## Make .venv and install the pinned packages (all targets do it by themselves)
	@$(PYTHON) tools/bootstrap.py

install-dev:
	@$(PYTHON) tools/bootstrap.py --dev

run: install ## Run the whole system: PORT=8000 REVSYNC_DATA_DIR=.data REVSYNC_PUBLIC_HOST=
	@exec $(BIN)/python -m core.embedded.supervisor --end-with-parent

test: install-dev ## Run the test suite on its own servers
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not long" $(ARGS)

test-long: install-dev ## The tests that take more than a few seconds as well
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

demo: install ## Play the rider's journey against the running server and show each step
	@$(BIN)/python tools/demo_journey.py --base-url $(BASE_URL) --data-dir $(REVSYNC_DATA_DIR)

demo-tuner: install ## Play how a tuner applies, is approved, publishes and is found
	@$(BIN)/python tools/demo_tuner_journey.py --base-url $(BASE_URL) --data-dir $(REVSYNC_DATA_DIR)

demo-money: install-dev ## Play a year of sales, refunds, disputes and payouts, draw the balances and prove the ledger
	@$(BIN)/python tools/with_test_settings.py --servers $(BIN)/python tools/demo_money.py

drill: install-dev ## Recall a version under 200 concurrent downloads in a system of its own, and print who was told when
	@$(BIN)/python tools/drill.py $(ARGS)

vectors: install-dev ## Write docs/vectors (the same bytes every time)
	@$(BIN)/python tools/make_vectors.py

verifiers: install-dev ## Both verifiers over docs/vectors, and the TypeScript one bundled for a phone
	@$(BIN)/python tools/verify_download.py vectors docs/vectors
	@cd tools/verifier-ts && export PATH="$(CURDIR)/$(BIN):$$PATH" && npm ci --ignore-scripts --silent && npm test --silent

faults: install-dev ## Kill, freeze and cut off parts of the system while people buy: SHORT=1 SEED=1 FROM=scenario WRITE=1
	@$(BIN)/python -m tools.faults $(if $(SHORT),--short) $(if $(SEED),--seed $(SEED)) $(if $(FROM),--from $(FROM)) $(if $(WRITE),--write)

relevance: install-dev ## How well search finds what riders mean: nDCG@10 of each query, and typos
	@$(BIN)/python -m pytest -q -s -n 0 marketplace/tests/test_relevance.py

bench: install-dev ## Measure reads against the raw floor, writes and traffic, to a million tunes; writes benchmarks/ (ARGS=--quick, BENCH_SIZES="10000 100000")
	@$(BIN)/python -m benchmarks $(ARGS)

bench-enumeration: install-dev ## Measure whether any answer tells who has an account; writes benchmarks/enumeration.*
	@$(BIN)/python -m benchmarks.enumeration

admin-hostile: install-dev ## Open every list of the admin full of hostile text in a real browser (wants Chromium)
	@command -v chromium chromium-browser google-chrome google-chrome-stable >/dev/null || { echo 'install Chromium first'; exit 1; }
	@$(BIN)/python -m pytest -q -s --show-capture=no revsync_backend/tests/test_admin_in_a_browser.py

restore-drill: install-dev ## Lose database and files of a system of its own, restore both, and let the provider tell the rest
	@$(BIN)/python -m tools.restore_drill $(ARGS)

compose-env: install ## Write .env with fresh secrets for docker compose (once)
	@$(BIN)/python tools/make_compose_env.py

lint: install-dev layers types ## ruff, import-linter, mypy, container files, check --deploy
	@$(BIN)/ruff check .
	@$(BIN)/python tools/lint_containers.py
	@$(BIN)/python tools/check_deploy.py

layers: install-dev
	@$(BIN)/lint-imports --no-cache

types: install-dev
	@$(BIN)/python tools/with_test_settings.py $(BIN)/mypy

openapi: install-dev ## Write openapi.yaml, docs/problems.md, docs/endpoints.md and docs/privacy.md from the code
	@$(BIN)/python tools/with_test_settings.py $(BIN)/python manage.py spectacular --file openapi.yaml --validate --fail-on-warn
	@$(BIN)/python tools/with_test_settings.py $(BIN)/python tools/write_reference.py

examples: install-dev ## Record what a running `make run` answers, for the schema (wants a fresh data directory; then `make openapi`)
	@$(BIN)/python tools/record_examples.py --base-url $(BASE_URL) --data-dir $(REVSYNC_DATA_DIR)

openapi-check: install-dev
	@$(BIN)/python tools/with_test_settings.py $(BIN)/python manage.py spectacular --file .openapi.generated.yaml --validate --fail-on-warn
	@diff -u openapi.yaml .openapi.generated.yaml && rm -f .openapi.generated.yaml || \
		{ rm -f .openapi.generated.yaml; echo 'openapi.yaml differs from the code: run `make openapi` and commit it'; exit 1; }

schemathesis: install-dev ## Hold the running system against its schema as each role, at most 8 minutes
	@$(BIN)/python tools/run_schemathesis.py

schemathesis-long: install-dev ## The same with many more examples and no cap
	@$(BIN)/python tools/run_schemathesis.py --long

client-ts: install-dev ## Generate the TypeScript client and play a rider's journey with it (wants Node 18 or newer)
	@$(BIN)/python tools/run_client_ts.py

virtual-bench: install-dev ## A simulated ECU, a reference app, and every fault at each of 64 blocks (ARGS=--short: 8 blocks)
	@$(BIN)/python tools/virtual_bench.py $(ARGS)

debian-check: install-dev ## Migrations and plans on Debian's PostgreSQL 15, and a journey through PgBouncer (both must be installed)
	@$(BIN)/python tools/check_on_debian.py

migrations-check: install-dev ## Fail when a model has changed without a migration
	@$(BIN)/python tools/with_test_settings.py --servers $(BIN)/python manage.py makemigrations --check --dry-run

requirements: ## Pin what is installed in .venv (after changing a requirements*.in by hand)
	@$(BIN)/python tools/pin_requirements.py

doctor: install ## Check every dependency, setting and right, beside a running `make run`
	@$(BIN)/python manage.py doctor

logs: ## Follow the logs of the running system
	@tail -n 20 -F $(REVSYNC_DATA_DIR)/logs/*.log

clean: ## Remove the virtual environment and caches; the data directory stays
	@rm -rf .venv .venv.lock .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
