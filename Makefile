# Every target is what CI and people call alike; HACKING.md explains them.
GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=
KILLS   ?= 10000
SEED    ?= 0
VERSION ?= $(shell git describe --tags --always 2>/dev/null || echo unknown)
LDFLAGS  = -s -w -X github.com/abide-project/abide/internal/version.Version=$(VERSION)
BINARIES = abide abide-keeper abide-engine abide-exec
SYSTEMS  = darwin freebsd openbsd netbsd illumos

export CGO_ENABLED = 0

.PHONY: build run run2 test deps bench bench-smoke cross lint unit walks race sim-nightly sim-mutants e2e chaos fuzz-seeds generate install clean

build:
	@mkdir -p bin
	$(GO) build -trimpath -tags osusergo,netgo -ldflags '$(LDFLAGS)' -o bin/ $(addprefix ./cmd/,$(BINARIES))

run: build
	@./examples/demo.sh

run2: build
	@./examples/killed.sh

test: deps build lint unit walks race cross e2e bench-smoke
	@echo "all tests passed"

deps:
	@sh test/install-deps.sh

lint:
	@sh tools/lint.sh

unit:
	$(GO) test -count=1 ./cmd/... ./client/... ./internal/... ./bench/...

# The race detector needs cgo; the packages named are those with concurrency.
race:
	CGO_ENABLED=1 $(GO) test -race -count=1 $(shell cat tools/race-packages)

# Every state that a service can reach, every graph of three services; unit has the
# short walks.
walks:
	$(GO) test -count=1 ./internal/core ./internal/graph -run Every -all

# The engine and the keeper on a simulated kernel, under seeded faults, for 100,000
# simulated hours: a few minutes. unit has some seconds of it.
sim-nightly:
	$(GO) test -count=1 -timeout 4h ./internal/sim -run Promises -v -for 3h -hours 100000 -seed-from $$(date +%s)

# The simulation against deliberate bugs, each of which it must find.
sim-mutants:
	$(GO) test -count=1 -timeout 1h ./internal/sim -run Mutant -v -mutants all

e2e: deps build
	$(GO) test -count=1 -timeout 20m ./test/...

# The nightly size; `make test` kills 100 times. SEED=N replays a round that failed.
chaos: deps build
	$(GO) test -count=1 -timeout 12h -v ./test/chaos -kills $(KILLS) -seed $(SEED) -calls 0

bench: build
	@sh bench/run.sh
	@sh bench/death.sh

bench-smoke: build
	@sh bench/run.sh -quick

cross:
	@set -e; for os in $(SYSTEMS); do echo "build and vet for $$os"; \
		GOOS=$$os GOARCH=amd64 $(GO) build ./... ; GOOS=$$os GOARCH=amd64 $(GO) vet ./cmd/... ./client/... ./internal/... ; done
	@echo "build and vet for linux/arm64"; GOARCH=arm64 $(GO) build ./... && GOARCH=arm64 $(GO) vet ./cmd/... ./client/... ./internal/...

# Everything generated from tables: key tables, man pages, OpenAPI, diagrams.
generate:
	$(GO) generate ./...

install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/abide $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 bin/abide $(DESTDIR)$(PREFIX)/bin/abide
	install -m 755 bin/abide-keeper bin/abide-engine bin/abide-exec $(DESTDIR)$(PREFIX)/libexec/abide/
	install -m 644 man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/

clean:
	rm -rf bin bench/out
