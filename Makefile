# SPDX-License-Identifier: EUPL-1.2
#
#   make demo                         a whole Seinhuis on this machine, to try by hand
#   make demo ARGS="-once -children 500 -seed 7"
#                                     a scripted population instead; bin/demo -h explains
#   make test                         everything that has to hold; what CI runs
#   make build                        the programs, in bin/
#   make lint                         gofmt, go vet, staticcheck, generated code
#   make fuzz FUZZTIME=1m             each fuzz target for a while
#
# Nothing is needed but Go, make and git: tools are pinned in go.mod.

GO       ?= go
ARGS     ?=
FUZZTIME ?= 10s

# The race detector needs a C compiler; without one go turns cgo off.
ifeq ($(shell $(GO) env CGO_ENABLED),1)
RACE := -race
else
RACE :=
endif

.DELETE_ON_ERROR:
.PHONY: demo build test lint fmt vet staticcheck generated unit population fuzz

demo: build
	@exec bin/demo $(ARGS)

build:
	@$(GO) build -o bin/ ./cmd/...

test: lint unit population

lint: fmt vet staticcheck generated

fmt:
	@out=$$(gofmt -l .) && test -z "$$out" || { echo "gofmt -w these:" $$out; exit 1; }

vet:
	$(GO) vet ./...

staticcheck:
	$(GO) tool staticcheck ./...

# What the generators write must be what is there.
GENERATED := gateway/rest/api.gen.go
generated:
	@mkdir -p bin && cp $(GENERATED) bin/generated.before && $(GO) generate ./... && \
	cmp bin/generated.before $(GENERATED) || { echo "$(GENERATED) was out of date; it is new now"; exit 1; }

unit:
ifndef RACE
	@echo "NO RACE DETECTOR: it needs a C compiler, and there is none"
endif
	$(GO) test $(RACE) ./...

# A small population through the real processes, on another seed each day.
population: build
	bin/demo -once -children 60 -seed $$(date +%j)

fuzz:
	@for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "== $$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done
