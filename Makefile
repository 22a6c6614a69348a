# The two commands of the README are `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The toolchain is pinned here and not in a visible file; where the pinned name isn't
# installed, the default toolchain serves if it is new enough (rust-version in Cargo.toml).
RUST_PIN := 1.95.0
ifneq ($(shell rustup toolchain list 2>/dev/null | grep -c '^$(RUST_PIN)'),0)
export RUSTUP_TOOLCHAIN := $(RUST_PIN)
endif

CACHE ?= $(or $(LLMROUTE_CACHE),$(HOME)/.cache/llmroute)
export LLMROUTE_CACHE := $(CACHE)
DENY_VERSION := 0.20.2
LISTEN ?= 127.0.0.1:15480

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: run
run: ## Build and run the quickstart on 127.0.0.1:15480
	cargo build --locked -p llmroute
	target/debug/llmroute run examples/quickstart --listen $(LISTEN)

.PHONY: build
build: ## Build the three binaries
	cargo build --locked --workspace --bins

.PHONY: assets
assets: ## Build or find what the tests need: API server, etcd, kubectl, SDKs
	tests/kit/assets
	tests/kit/python
	tests/kit/node

# The suites wait more than they compute.
export RUST_TEST_THREADS ?= 4
# A failed test shows logs; where its error was made is noise beside them.
export RUST_LIB_BACKTRACE ?= 0

.PHONY: test
test: assets build ## Run every test
	cargo test --locked --workspace --no-fail-fast

.PHONY: lint
lint: ## Format, clippy, licences and sources, docs
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	$(CACHE)/tools/bin/cargo-deny --version 2>/dev/null | grep -q ' $(DENY_VERSION)$$' \
	  || cargo install --locked cargo-deny --version $(DENY_VERSION) --root $(CACHE)/tools
	$(CACHE)/tools/bin/cargo-deny --locked --config .cargo/deny.toml check bans licenses sources

.PHONY: generate
generate: ## Write anew what is generated and committed
	LLMROUTE_BLESS=1 cargo test --locked -p llmroute-protocol --test generated
	LLMROUTE_BLESS=1 cargo test --locked -p llmroute-crds

.PHONY: drift
drift: generate ## Fail if a generated file differs from the committed one
	git diff --exit-code -- crds protocol

.PHONY: advisories
advisories: ## Known vulnerabilities (needs a network beyond the package registries)
	$(CACHE)/tools/bin/cargo-deny --locked --config .cargo/deny.toml check advisories
