# Carrel. Everything here works on a fresh machine with Go and make.
#   make demo         build, then walk through the main job on a sample repository
#   make test         everything that must pass
#   make build        leave bin/carrel
# More: make lint, make bench, make crash, make tamper, make demo-claude, make clean.

GO      ?= go
BIN     := bin/carrel
INIT    := internal/sandbox/native/initbin/carrel-init
VERSION := $(shell cat VERSION 2>/dev/null)
LDFLAGS := -s -w -X main.version=$(VERSION)
export CGO_ENABLED ?= 0

.PHONY: all build init demo demo-claude test test-go lint bench crash tamper clean prepare cross

all: build

build: init
	@$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/carrel

# The first process of a desk, embedded in carrel. Without it carrel starts
# itself again instead, which works and is slower.
init:
	@$(GO) build -trimpath -ldflags '-s -w' -o $(INIT) ./cmd/carrel-init

demo: build
	@$(BIN) demo

demo-claude: build
	@PATH="$$(.ci/claude):$$PATH" && export PATH && $(BIN) demo --agent claude

# What the tests use besides Go: installed once, only where it is missing.
prepare:
	@.ci/prepare
	@.ci/checkers >/dev/null || echo "cosign and @sigstore/verify are not installed; evidence is not checked with them" >&2

test: prepare build cross
	@node=$$(.ci/node) && PATH="$$node$$PATH" CARREL_BIN=$(CURDIR)/$(BIN) $(GO) test -timeout 40m ./...
	@CGO_ENABLED=1 $(GO) test -race -timeout 40m . ./verify/... ./internal/private/... ./internal/gate/... ./internal/audit/... ./internal/approval/... ./internal/terminal/...

# The verbs that only read and approve must build elsewhere too.
cross:
	@GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/carrel
	@GOOS=windows GOARCH=amd64 $(GO) build -o /dev/null ./cmd/carrel
	@GOOS=linux GOARCH=arm64 $(GO) build -o /dev/null ./cmd/carrel

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi
	@$(GO) vet ./...
	@$(GO) tool staticcheck ./...

# What becomes of a log and of an evidence pack in which any bit, byte region
# or file was changed: a table of what was tried and what was found.
tamper:
	@$(GO) test -count=1 -v -run 'Tamper|Flip|EveryByte' ./verify -verify.every-bit
	@$(GO) test -count=1 -v -run Tamper -timeout 60m ./internal/audit -audit.tamper

# A log crashes at every call it makes to the disk, and at random ones: killed,
# or the power cut.
crash:
	@$(GO) test -count=1 -v -run CrashesAnywhere -timeout 60m ./internal/audit -audit.crashes=$(or $(POINTS),12000) -audit.seed=$(or $(SEED),1)

bench: build
	@$(GO) run ./bench

clean:
	@rm -rf bin $(INIT)
