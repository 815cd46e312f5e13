# The recipes of this repository. CI calls the same ones.
#
#   make demo    build (release) and run the shopfront: counted answers, exit status 0 or 1
#   make test    every test of the workspace, those in network namespaces included (root)
#   make counts  what one request costs in instructions, allocations and system calls, beside the record (root)
#   make counts-record   write that record, loadtests/counts.toml
#   make soak    SOAK_MINUTES (30) of mixed load with churn: memory, descriptors and totals must stay (root)
#   make pgo     a release build arranged for its load, target/pgo/outrigger, a quarter fewer instructions (root, llvm-tools, half an hour)
#   make image-rootfs IMAGE_ROOT=folder   the image's root file system as a folder (IMAGE_PROFILE=release or dev; PROFILE=what make pgo wrote)
#   make image-test   that file system, run by chroot (root)
#   make lint    formatting and clippy, warnings as errors
#   make deny    bans, licences and sources of dependencies
#   make bench   compare with Envoy, HAProxy and nginx (root, a quiet machine, 25 minutes; ONLY=tests REPS=n DURATION=seconds)
#   make bench-peers BENCH=folder   the same proxies in the orbench.py of that folder (ONLY=tests, or both: what both have; REPS=n DURATION=seconds)
#   make agree   whether the latest runs of both come to the same ratios within 10 %

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help root demo test counts counts-record pgo image-binary image-rootfs image-test soak lint deny bench bench-peers agree

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
	cargo build --release
	COUNTS=check cargo test --workspace --no-fail-fast

COUNT := cargo test --quiet --package outrigger-loadtests --test counts no_request -- --nocapture

counts: GOAL = counts
counts: root
	@scripts/deps counts
	cargo build --release
	@COUNTS=check $(COUNT)

counts-record: GOAL = counts-record
counts-record: root
	@scripts/deps counts
	cargo build --release
	@COUNTS=record $(COUNT)

# Measured in docs/performance.md.
pgo: GOAL = pgo
pgo: root
	@scripts/deps pgo
	scripts/pgo

# Static, in a target folder of its own, so that the flag spoils no other build. jemalloc takes the page size of the machine that
# builds it, and one built for 4 KiB does not start on an arm64 kernel with 64 KiB; the other way round it does.
# PROFILE is an outrigger.profdata of `make pgo`, from the same compiler and the same sources: cargo names symbols alike in both builds.
PROFILE ?=
IMAGE_PROFILE ?= release
IMAGE_ROOT ?= target/image/rootfs
IMAGE_TARGET := $(shell uname -m)-unknown-linux-gnu
IMAGE_BINARY = target/image/$(IMAGE_TARGET)/$(if $(filter dev,$(IMAGE_PROFILE)),debug,$(IMAGE_PROFILE))/outrigger

ifneq ($(filter aarch64-%,$(IMAGE_TARGET)),)
image-binary: export JEMALLOC_SYS_WITH_LG_PAGE ?= 16
endif
image-binary:
	@[ -z "$(PROFILE)" ] || [ -f "$(PROFILE)" ] || { echo "PROFILE=$(PROFILE): no such file; make pgo writes target/pgo/outrigger.profdata"; exit 1; }
	RUSTFLAGS="-C target-feature=+crt-static$(if $(PROFILE), -Cprofile-use=$(abspath $(PROFILE)))" cargo build --profile $(IMAGE_PROFILE) --target $(IMAGE_TARGET) --target-dir target/image -p outrigger

image-rootfs: image-binary
	@[ "$(IMAGE_ROOT)" != target/image/rootfs ] || rm -rf target/image/rootfs
	scripts/image-rootfs $(IMAGE_BINARY) $(IMAGE_ROOT)

image-test: GOAL = image-test
image-test: root
	@scripts/deps test
	$(MAKE) image-binary IMAGE_PROFILE=dev
	IMAGE=check cargo test -p outrigger --test agent image

soak: GOAL = soak
soak: root
	@scripts/deps test
	SOAK_MINUTES=$${SOAK_MINUTES:-30} cargo test --release -p outrigger --test soak

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

deny:
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny check bans licenses sources

# The program and its flags: target/release/outrigger-bench --help. A partial run leaves loadtests/results alone.
bench:
	@scripts/deps bench
	cargo build --release -p outrigger -p outrigger-loadtests --bins
	target/release/outrigger-bench run $(if $(ONLY),--only '$(ONLY)') $(if $(REPS),--reps $(REPS)) $(if $(DURATION),--duration $(DURATION))

bench-peers: export ORBENCH_PEERS = $(CURDIR)/loadtests/peers
bench-peers: export ORBENCH_OUTRIGGER = $(CURDIR)/target/release/outrigger
bench-peers: export ORBENCH_BENCH = $(CURDIR)/target/release/outrigger-bench
bench-peers: export ORBENCH_ENVOY ?= $(CURDIR)/target/envoy/envoy/_bin/envoy
# What it measured; a run begins it anew.
PEERS_OUT ?= target/bench/peers.jsonl
# Turns with ONLY=both. Of the start: that program forks itself, which varies by a good part of what a fast proxy takes. Of bulk:
# under bbr a turn depends on when its timers fire.
STARTS ?= 45
BULKS ?= 9
bench-peers:
	@[ -n "$(BENCH)" ] || { echo "make bench-peers needs the folder of orbench.py: make bench-peers BENCH=folder [ONLY=tests] [REPS=n] [DURATION=seconds]"; exit 1; }
	@[ -f "$(BENCH)/orbench.py" ] || { echo "BENCH=$(BENCH): no orbench.py there"; exit 1; }
	@scripts/deps bench
	cargo build --release -p outrigger -p outrigger-loadtests --bins
	@mkdir -p "$(dir $(PEERS_OUT))" && rm -f "$(PEERS_OUT)"
	@set -e; measure() { \
	  python3 "$(BENCH)/orbench.py" run --peers loadtests/peers/orbench.toml --out "$(PEERS_OUT)" $(if $(DURATION),--duration $(DURATION)) "$$@"; \
	}; \
	only='$(ONLY)'; \
	if [ "$$only" = both ]; then \
	  varying='start|mtls_bulk_c2|tcp_bulk_c2'; \
	  measure $(if $(REPS),--reps $(REPS)) --only "$$(target/release/outrigger-bench list --names | tr , '\n' | grep -vxE "$$varying" | paste -sd,)"; \
	  measure --reps $(BULKS) --only mtls_bulk_c2,tcp_bulk_c2; \
	  measure --reps $(STARTS) --only start; \
	else measure $(if $(REPS),--reps $(REPS)) --only "$$only"; fi

# OURS is loadtests/results/latest.jsonl after a full `make bench`, target/bench/latest.jsonl after a part.
OURS ?= loadtests/results/latest.jsonl
agree:
	cargo build --release -p outrigger-loadtests --bins
	target/release/outrigger-bench agree "$(OURS)" "$(PEERS_OUT)" --out $(dir $(OURS))agreement.md
