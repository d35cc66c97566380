# SPDX-License-Identifier: EUPL-1.2
#
#   make demo                         a whole Seinhuis on this machine, to try by hand
#   make demo ARGS="-once -children 500 -seed 7"
#                                     a scripted population instead; bin/demo -h explains
#   make test                         everything that has to hold; what CI runs
#   make build                        the programs, in bin/
#   make lint                         gofmt, go vet, staticcheck, generated code
#   make fuzz FUZZTIME=1000000x       each fuzz target for longer than make test does
#   make soak ROW=2 COUNT=100000 SEED=7
#                                     a row of the table of faults for as long as that takes
#   make mutants                      planted faults, each of which a test must catch
#   make bench                        ours beside its peers (FULL=1 at full size, WHAT=join
#                                     these rows only); bench/README.md explains
#
# Nothing is needed but Go, make and git: tools are pinned in go.mod.

GO       ?= go
ARGS     ?=
FUZZTIME ?= 1000x

# Only the race detector needs a C compiler; without one go turns cgo off. All else
# is built without, and Pebble's compression with its Go code, so that nothing is
# compiled twice: a fresh machine spends its time on that. What only computes (curves,
# hashes) or only reads YAML is not instrumented, for it takes over a quarter of the gateway's
# tests. Nothing that uses sync.Map or an atomic pointer may be among it: the linker keeps
# one copy of such code for all, and races would be seen where there are none.
PURE := CGO_ENABLED=0
COMPUTES := crypto/internal/fips140/edwards25519 filippo.io/edwards25519 github.com/cloudflare/circl \
            github.com/gtank/ristretto255 github.com/oasdiff
ifeq ($(shell $(GO) env CGO_ENABLED),1)
RACE := -race -tags pebblegozstd $(COMPUTES:%=-gcflags=%/...=-race=false)
else
RACE :=
endif

.DELETE_ON_ERROR:
.PHONY: demo build test lint fmt vet staticcheck generated unit population fuzz short-fuzz bench alerts units soak mutants

demo: build
	@exec bin/demo $(ARGS)

build:
	@$(PURE) $(GO) build -o bin/ ./cmd/...

test: lint alerts units population short-fuzz unit

lint: fmt vet staticcheck generated

fmt:
	@out=$$(gofmt -l .) && test -z "$$out" || { echo "gofmt -w these:" $$out; exit 1; }

vet:
	$(PURE) $(GO) vet ./...

staticcheck:
	$(PURE) $(GO) tool staticcheck ./...

# What the generators write must be what is there.
GENERATED := api/exchange/server.gen.go api/evaluation/server.gen.go gateway/rest/api.gen.go
generated:
	@mkdir -p bin && cat $(GENERATED) > bin/generated.before && $(PURE) $(GO) generate ./... && \
	cat $(GENERATED) | cmp bin/generated.before - || { echo "one of $(GENERATED) was out of date; it is new now"; exit 1; }

# The alert rules, by promtool of Debian's package prometheus.
alerts:
	@command -v promtool >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends prometheus; } >/dev/null 2>&1; } || :
	@command -v promtool >/dev/null || { echo "ALERT RULES NOT TESTED: there is no promtool; install Debian's package prometheus"; exit 0; }; \
	cd deploy/prometheus && promtool check rules alerts.yaml && promtool test rules alerts_test.yaml

# The units of systemd are held by a test; all of it only where systemd is.
units:
	@command -v systemd-analyze >/dev/null || echo "UNITS NOT HELD AGAINST SYSTEMD: there is no systemd-analyze; install Debian's package systemd"

# The matcher's rows try few seeds under the race detector, and so once more without.
unit:
ifndef RACE
	@echo "NO RACE DETECTOR: it needs a C compiler, and there is none"
endif
	@mkdir -p bin && rm -f bin/soak.lines
	SEINHUIS_SOAK_LINES=$(CURDIR)/bin/soak.lines $(GO) test $(RACE) -timeout 15m ./...
ifdef RACE
	SEINHUIS_SOAK_LINES=$(CURDIR)/bin/soak.lines $(PURE) $(GO) test -run '^TestRow[0-9]+[A-Z]' ./matcher
endif
	@test ! -e bin/soak.lines || sort -n -k 2 bin/soak.lines

# What must survive: a row of the table of faults, COUNT tries from SEED on, in every
# package that keeps a part of its promise. Any failure says how to see it again.
COUNT ?= 1000
SEED  ?= $(shell date +%s)
ifeq ($(ROW),11)
soak:
	@$(MAKE) -s fuzz FUZZTIME=$(COUNT)x
else
soak: build
	@test -n "$(ROW)" || { echo "make soak ROW=n: which row of the table of faults?"; exit 2; }
	@set -e; status=0; mkdir -p bin; rm -f bin/soak.lines; \
	for dir in $$(grep -rlE --include='*_test.go' '^func TestRow$(ROW)[A-Z]' . | xargs -r -n 1 dirname | sort -u); do \
	  $(PURE) $(GO) test -c -o bin/soak.test $$dir; \
	  (cd $$dir && SEINHUIS_SOAK_COUNT=$(COUNT) SEINHUIS_SOAK_SEED=$(SEED) SEINHUIS_SOAK_LINES=$(CURDIR)/bin/soak.lines \
	    $(CURDIR)/bin/soak.test -test.run '^TestRow$(ROW)[A-Z]' -test.timeout 0) || status=1; \
	done; \
	test -e bin/soak.lines || { echo "no test tries row $(ROW)"; exit 2; }; exit $$status
endif

# Small wrong patches, each of which some test must catch: it is applied in a copy of
# what is here, and the test that its second line names is run. MUTANT=skip-fsync tries
# that one only.
MUTANT ?= *
mutants:
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT; \
	git ls-files -co --exclude-standard -z | tar -c --null --ignore-failed-read -T - 2>/dev/null | tar -x -C "$$copy"; \
	cd "$$copy"; caught=0; missed=0; \
	for patch in mutants/$(MUTANT).patch; do \
	  name=$$(basename $$patch .patch); promise=$$(sed -n 's/^Promise: //p' $$patch); \
	  set -- $$(sed -n 's/^Fails: //p' $$patch); test="$(PURE) $(GO) test -trimpath -run ^($$2)$$ $$1"; bad=; \
	  env $$test >mutant.log 2>&1 || bad="the test fails without it"; \
	  grep -q 'no tests to run' mutant.log && bad="there is no such test"; \
	  test -n "$$bad" || git apply -C1 $$patch || bad="it does not apply any more"; \
	  test -n "$$bad" || ! env $$test >mutant.log 2>&1 || bad=SURVIVED; \
	  ! grep -q 'build failed' mutant.log || bad="it does not build"; \
	  git apply -C1 -R $$patch 2>/dev/null || :; \
	  by=$$(grep -oE -- '--- FAIL: [A-Za-z0-9_]+|panic: .*' mutant.log | head -n 1); \
	  test -n "$$by$$bad" || bad="something ended the test, and it did not fail"; \
	  if test -n "$$bad"; then missed=$$((missed+1)); echo "$$name: $$bad ($$1 $$2): $$promise"; \
	  else caught=$$((caught+1)); echo "$$name: caught by $$1 $${by#--- FAIL: }: $$promise"; fi; \
	done; \
	echo "mutants: $$caught caught, $$missed not"; test $$missed = 0 && test $$caught -gt 0

# A small population through the real processes, on another seed each time; the
# last line says which.
population: build
	bin/demo -once -children 60 -seed $$(date +%s)

# Each fuzz target FUZZTIME executions: a duration instead ends now and then in a
# false alarm before Go 1.27 (go.dev/issue/75804). What a crash leaves in
# testdata/fuzz is a regression case. The short run takes the tests as they were
# compiled for unit, and so goes without the guidance of coverage.
fuzz:       FUZZBUILD := $(PURE) $(GO) test -c -fuzz .
short-fuzz: FUZZBUILD := $(GO) test -c $(RACE)
fuzz short-fuzz:
	@set -e; mkdir -p bin; n=0; \
	for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do \
	  $(FUZZBUILD) -o bin/fuzz.test $$dir; \
	  for target in $$(bin/fuzz.test -test.list '^Fuzz'); do \
	    (cd $$dir && $(CURDIR)/bin/fuzz.test -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime $(FUZZTIME) \
	      -test.fuzzcachedir $(CURDIR)/.cache/fuzz) > bin/fuzz.log 2>&1 || { cat bin/fuzz.log; exit 1; }; \
	    echo "$$dir $$target: $$(grep execs bin/fuzz.log | tail -n 1)"; n=$$((n+1)); \
	  done; \
	done; \
	echo "row 11, bad input: $$n targets tried with $(FUZZTIME) inputs each, 0 broke a promise"

# The peers are a module of their own, and need a C++ compiler; without them our
# figures stand alone.
WHAT ?= all
bench:
	@$(GO) test -c -o bin/bench.test ./bench
	@cd bench/peers && $(GO) build -o ../../bin/peers . || { rm -f ../../bin/peers; echo "bench: NO PEERS: they do not build here"; }
	@exec bin/bench.test -test.run '^TestBench$$' -what $(WHAT) $(if $(filter 1,$(FULL)),-size full) $(if $(PROFILE),-profile $(PROFILE)) \
	  -peers "$$(ls bin/peers 2>/dev/null)" -results bench/results
