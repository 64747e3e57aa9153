# What people run. `make` alone lists it. Everything works from a fresh clone: npm packages and the pinned Node.js
# come from the lockfile, Debian packages are installed where that is allowed, and named where it is not.

SHELL := /bin/sh
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

# For the static CNI client of the other processor.
CROSS_COMPILER := $(if $(filter aarch64,$(shell uname -m)),gcc-x86-64-linux-gnu libc6-dev-amd64-cross,gcc-aarch64-linux-gnu libc6-dev-arm64-cross)

.DEFAULT_GOAL := help
.PHONY: help demo test e2e e2e-guest bench soak fuzz check fmt bundle image cni

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: node_modules/.installed ## one pod through CSI, CNI and CRI on this machine, shown and taken down (root); SIMULATE=1 needs no root
ifeq ($(SIMULATE),1)
	@bin/trivet demo --simulate
else
	@hack/debian-packages containerd runc busybox-static containernetworking-plugins
	@bin/trivet demo
endif

test: node_modules/.installed ## format, lint, types, and every test that needs no root
	@hack/run-tests

e2e: node_modules/.installed ## tests with a real containerd, namespaces and mounts (root)
	@hack/debian-packages containerd runc busybox-static containernetworking-plugins binutils iproute2 nftables musl-tools btrfs-progs e2fsprogs iptables xfsprogs systemd
	@[ -t 1 ] || export NO_COLOR=1; vitest run --project e2e

e2e-guest: node_modules/.installed ## project quotas and power cuts, in a QEMU guest (root); GUEST_CUTS=20 cuts the power so often
	@hack/debian-packages busybox-static e2fsprogs kmod qemu-system-x86 xfsprogs
	@node hack/e2e-guest.ts

bench: node_modules/.installed ## measure against what there is without us, side by side (root); ONLY=cni for one of them
	@hack/debian-packages containernetworking-plugins iproute2 iptables nftables musl-tools
	@hack/run-benchmarks $(ONLY)

soak: node_modules/.installed ## 5,000 pods come and go, and memory, descriptors and links stay as they were (root)
	@hack/debian-packages iproute2 nftables busybox-static musl-tools
	@SOAK_ADDS=500 SOAK_PAIRS=5000 vitest run --project e2e test/e2e/cni-soak.test.ts

fuzz: node_modules/.installed ## bytes of any kind through the proxy's parsers; COUNT=1000000 SEED=1 ONLY=hpack
	@node test/fuzz/main.ts --count $(or $(COUNT),1000000) --seed $(or $(SEED),1) $(if $(ONLY),--only $(ONLY))

cni: ## dist/cni/trivet: the static client that a container runtime starts
	@hack/build-cni-client

check: node_modules/.installed ## format, lint and types only
	@npm run --silent check

fmt: node_modules/.installed ## format the sources and apply the safe fixes of the linter
	@npm run --silent fmt

bundle: node_modules/.installed ## dist/trivet: one program that starts without node_modules
	@node hack/bundle.ts

image: node_modules/.installed ## dist/trivet-image-*.tar: what the DaemonSet runs, for ctr images import; no registry
	@hack/debian-packages binutils musl-tools $(CROSS_COMPILER) $$(awk '/^[a-z]/ { print $$1 }' hack/image/debian-files | sort -u)
	@hack/build-cni-client
	@node hack/bundle.ts
	@node hack/image/make-image.ts

node_modules/.installed: package-lock.json hack/install-npm-packages
	@hack/install-npm-packages
	@touch $@
