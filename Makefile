# SPDX-License-Identifier: GPL-2.0
#
# The commands of mvirt. They are stable names for the scripts in scripts/, which do the work and
# may be called by themselves. Kbuild's makefile of the module is module/Kbuild.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

KERNEL ?= 6.18.15
VARIANT ?= 4k
# T=name of a selftest, or several; empty for all
T ?=
export KERNEL VARIANT KDIR DEBUG V

setup := scripts/setup.sh

.PHONY: help
help: ## this list
	@echo 'usage: make COMMAND [VARIABLE=VALUE]'
	@echo
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18
	@echo
	@echo '  KERNEL=6.18.15    the host kernel: 6.18.15 or 7.3.4'
	@echo '  VARIANT=4k        its build: 4k, 16k, no-kvm, hardened, debug'
	@echo '  KDIR=DIR          a kernel that is built already, instead of both'
	@echo '  T=NAME            one selftest ("scripts/selftest.sh --list" names them)'
	@echo '  DEBUG=1           EL2 checks its invariants at each exit'
	@echo '  V=1               show what is run'

.PHONY: run
run: ## a protected guest's shell; without a terminal, the proof that it is one
	@$(setup) host kernel qemu
	@scripts/run.sh

.PHONY: shell
shell: ## boot a host, let mvirt take EL2, a shell in that host
	@$(setup) host kernel qemu
	@scripts/run.sh --shell

.PHONY: check
check: ## tests, lints, smoke matrix of the selftests: what CI runs
	@$(setup) host kernel qemu lint
	@scripts/check.sh

.PHONY: test
test: ## the tests that need no machine of their own
	@$(setup) host
	@scripts/test.sh

.PHONY: lint
lint: ## fmt, clippy, rustdoc, cargo-deny, shellcheck, ruff, licences
	@$(setup) host lint
	@scripts/lint.sh

.PHONY: selftest
selftest: ## the selftests under QEMU, all configurations
	@$(setup) host kernel qemu
	@scripts/selftest.sh --matrix $(if $(T),smoke,full) $(T)

.PHONY: bench
bench: ## what the take-over and a guest's operations cost, in instructions
	@$(setup) host kernel qemu
	@scripts/bench.sh

.PHONY: kvm-selftests
kvm-selftests: ## the kernel's own KVM selftests on /dev/mvirt: those that scripts/config/kvm-selftests.list has
	@$(setup) host kernel qemu
	@scripts/kvm-selftests.sh

.PHONY: miri
miri: ## the tests of EL2's logic under miri, with a pinned nightly Rust
	@$(setup) host miri
	@scripts/miri.sh

.PHONY: fuzz
fuzz: ## not there yet: a fuzzer of the hypercall interface
	@echo 'fuzz: there is no fuzz target yet; the property tests of "make test" are what there is' >&2
	@exit 2

.PHONY: modules
modules: ## mvirt.ko
	@$(setup) host kernel
	@scripts/module.sh

.PHONY: tool
tool: ## the tool, static for arm64
	@$(setup) host
	@scripts/tool.sh

.PHONY: unsafe-report
unsafe-report: ## lines and unsafe blocks by directory
	@scripts/unsafe-report.sh

.PHONY: clean
clean: ## remove what was built here; the cache of kernels stays
	rm -rf build target
