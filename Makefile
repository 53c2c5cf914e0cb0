# Everything a newcomer types. `make help` lists it.
#
# One profile (release) and one build cache outside the checkout for all of it: what `make up` has compiled,
# `make test` does not compile again (decision 0003).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CACHE := $(or $(CLOUDSYNC_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cloudsync)
export CLOUDSYNC_CACHE := $(CACHE)
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(PATH):$(HOME)/.cargo/bin
export ROCKSDB_STATIC := 1
# `setup` has built it by then; this only asks where it is.
WITH_ROCKSDB = export ROCKSDB_LIB_DIR=$$(scripts/rocksdb.sh);

# More arguments for the program that a target starts: make bench ARGS='--runs 5'.
ARGS ?=

.PHONY: up
up: build ## Build it and start a whole cluster on this machine
	exec "$(CARGO_TARGET_DIR)/release/cloudsync" up $(ARGS)

.PHONY: build
build: setup ## Build the cloudsync binary
	$(WITH_ROCKSDB) cargo build --release --locked --package cloudsync

.PHONY: test
test: setup ## The gate: format, lints, tidy, all tests, real clients
	$(WITH_ROCKSDB) scripts/test.sh

.PHONY: bench
bench: build ## Measure this machine and CloudSync on it, its metadata beside etcd and PostgreSQL (ARGS='--write' keeps it)
	@scripts/bench-peers.sh $(ARGS)
	$(WITH_ROCKSDB) cargo run --release --locked --package bench -- $(ARGS)

.PHONY: chaos
chaos: setup ## Break things on purpose and check the promises
	$(WITH_ROCKSDB) cargo run --release --locked --package chaos -- $(ARGS)

.PHONY: sim
sim: setup ## Whole clusters in one process: 200 seeds (ARGS='--seeds 20')
	$(WITH_ROCKSDB) cargo run --release --locked --package sim -- batch $(ARGS)

.PHONY: sim-run
sim-run: setup # One seed, with all that happened (docs/simulation.md)
	$(WITH_ROCKSDB) cargo run --release --locked --package sim -- run $(ARGS)

.PHONY: sim-shrink
sim-shrink: setup # A smaller run of a seed that breaks a promise
	$(WITH_ROCKSDB) cargo run --release --locked --package sim -- shrink $(ARGS)

.PHONY: mutants
mutants: setup ## Plant bugs and see which are found, by which check, in how many seeds
	$(WITH_ROCKSDB) cargo run --release --locked --package sim --features mutants -- mutants $(ARGS)

.PHONY: accept
accept: build ## The long acceptance scripts (about five minutes each, SEEDS=20 to shorten the box)
	$(WITH_ROCKSDB) scripts/accept.sh

.PHONY: fuzz
fuzz: setup ## All property tests with many more random cases (CASES=20000)
	$(WITH_ROCKSDB) PROPTEST_CASES=$(or $(CASES),20000) cargo test --release --locked --workspace $(ARGS)

.PHONY: deny
deny: ## Licences, sources and advisories of all libraries (needs cargo-deny)
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	cargo deny check

.PHONY: setup
setup: # What cargo cannot fetch, and RocksDB's archive
	@scripts/setup.sh
	@scripts/rocksdb.sh >/dev/null
	@scripts/claim-cache.sh

.PHONY: clean-cache
clean-cache: ## Remove the build cache, including RocksDB's archive
	rm -rf "$(CACHE)/target" "$(CACHE)/rocksdb" "$(CACHE)/rocksdb-build" "$(CACHE)/rocksdb.lock"

.PHONY: help
help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
