# The recipes of this repository. CI calls the same ones.
#
#   make demo    build (release) and run the shopfront: counted answers, exit status 0 or 1
#   make test    every test of the workspace, those in network namespaces included (root)
#   make lint    formatting and clippy, warnings as errors
#   make deny    bans, licences and sources of dependencies

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help root demo test lint deny

help:
	@sed -n 's/^#   //p' Makefile

root:
	@[ "$$(id -u)" = 0 ] || { echo "This needs root: every pod gets a network namespace with iptables rules of its own. Try: sudo -E env PATH=\"$$PATH\" make $(GOAL)"; exit 1; }

demo: GOAL = demo
demo: root
	@scripts/deps demo
	cargo build --release
	@target/release/outrigger demo

test: GOAL = test
test: root
	@scripts/deps test
	cargo test --workspace --no-fail-fast

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

deny:
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check bans licenses sources
