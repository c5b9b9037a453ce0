# Tandem: see README.md. `make help` lists the targets.

GO          ?= go
BIN         := bin/tandem
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS     := -s -w -X main.version=$(VERSION)
FUZZTIME    ?= 2s
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOTESTSUM   := gotest.tools/gotestsum@v1.13.0

# Debian packages: what the tests run for real, and the peers of the benchmarks.
TEST_PACKAGES  := curl openssh-client iproute2 nftables nginx-light tcpdump prometheus freeradius freeradius-utils chromium systemd groff-base
BENCH_PACKAGES := haproxy libnginx-mod-stream microsocks dante-server mptcpize

export CGO_ENABLED ?= 1

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: build
build: ## build bin/tandem
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/tandem

.PHONY: run
run: build ## build and start tandem with its embedded configuration
	@exec $(BIN) run $(if $(CONFIG),--config $(CONFIG))

.PHONY: deps
deps: ## install the Debian packages that tests and demo need
	@deploy/install-packages $(TEST_PACKAGES)

.PHONY: test
test: deps lint unit fuzz ## run everything: linters, all tests with the race detector, fuzzers for a few seconds each

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt these files:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# As root, tests that need namespaces run too; else they are skipped and say why.
# One or two that fail are run once more and told of: short forms of benchmarks
# wait for what real links carry, and other work on the processors delays that.
.PHONY: unit
unit: build ## run the tests with the race detector
	$(GO) run $(GOTESTSUM) --format pkgname --format-hide-empty-pkg --hide-summary skipped \
		--rerun-fails=1 --rerun-fails-max-failures=2 --packages ./... --post-run-command 'bench/test-summary' \
		-- -race -timeout 10m $(TESTFLAGS)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (2s)
	@FUZZTIME=$(FUZZTIME) GO=$(GO) bench/fuzz-all

.PHONY: demo
demo: deps build ## a home with two access links in network namespaces, one of which is cut
	$(GO) run ./bench/demo -tandem $(BIN)

# What make bench runs: at most 20 minutes on two cores, which a test adds up.
BENCH_SET := paths-handover options-rate-limit options-weighted options-overflow apps-voice apps-pages apps-bulk-home relay-bulk8 relay-connections-mptcp relay-idle-mptcp

.PHONY: bench
bench: deps build peers ## what Tandem does, measured here, as one HTML page (20 minutes; needs root)
	$(BIN) bench run $(BENCH_SET) --out bin/bench $(BENCHFLAGS)

.PHONY: peers
peers: ## install and build the relays that benchmarks compare Tandem with
	@deploy/install-packages $(BENCH_PACKAGES)
	GO=$(GO) bench/peers/build bin/peers

.PHONY: bench-relay
bench-relay: deps build peers ## the relay beside haproxy, nginx, microsocks, dante, armon, sing-box, xray (needs root)
	$(BIN) bench run relay --out bin/relay $(BENCHFLAGS)

.PHONY: bench-paths
bench-paths: deps build ## path managers: subflows over time, resets, healing, hand-over, cost (needs root)
	$(BIN) bench run paths --out bin/paths $(BENCHFLAGS)

.PHONY: bench-apps
bench-apps: deps build ## what applications feel on each way: voice, typing, pages, requests, transfers, tunnels (needs root)
	$(BIN) bench run apps --out bin/apps $(BENCHFLAGS)

.PHONY: bench-capacity
bench-capacity: deps build ## what Tandem carries by the number of connections, and what a region needs (needs root)
	$(BIN) bench run capacity --out bin/capacity $(BENCHFLAGS)
	$(BIN) bench capacity --results bin/capacity $(CAPACITYFLAGS)

.PHONY: bench-options
bench-options: deps build ## options of connections: what each does, how soon, and what it costs (needs root)
	$(BIN) bench run options --out bin/options $(BENCHFLAGS)

.PHONY: bench-telemetry
bench-telemetry: build ## what telemetry and records cost: Tandem with them and without, in turns (needs root)
	$(BIN) bench run relay-telemetry --out bin/telemetry $(BENCHFLAGS)

SOAKTIME ?= 10m
.PHONY: soak
soak: deps build ## load gateways while everything around them fails and comes back, for SOAKTIME (10m; needs root)
	$(GO) test ./bench/soak -run TestSoak -count 1 -timeout 60m -v -args -soak $(SOAKTIME) $(SOAKFLAGS)

.PHONY: deb
deb: build ## build a Debian package in bin/
	deploy/debian/build $(BIN) $(VERSION) bin

.PHONY: man
man: build ## write the man pages to bin/man
	$(BIN) manual bin/man

.PHONY: generate
generate: ## rebuild generated files: eBPF objects, configuration schema and reference (needs clang)
	$(GO) generate ./...

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
