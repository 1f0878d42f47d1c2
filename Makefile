# `make help` lists every target. All tools and programs are installed into .tools and target only.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

DROP ?= loadtest/drops/default.toml
SHOPPERS ?=
EXPECTS ?=
SEED ?=
CASES ?=
FUZZ_SECONDS ?=
FAULTS ?=
GATEWAY_RATE ?=
FN ?=
EVENT ?=
QUOTAS ?=
JSON ?=
SHOPPER ?= ada
PRESCALE ?=
PLATFORM_MS ?=
DROPS ?=
MINUTES ?=
PLAN ?=
CROWD ?=
UNITS ?=
CDN ?=
FIND ?=
LIFT ?=
DESIGN ?=
LASTS ?=
ONLY ?=
ROUNDS ?=
FROM ?= target/drop/measured.json
RULES ?= choice claim order plan search shard survey
PROFILE ?= infra/prescale/profile.toml
OUT ?=
STAGE ?=
ARCH ?= arm64
ROTATE ?=
FORCE ?=
TYPED ?=
CONFIG ?=
QUEUE ?=
SHOW ?=
EMULATOR ?=
ORDER ?=
FOLDER ?=
BIN := target/release
# The option for a profile that was given to make; without it each command has a default of its own.
OWN_PROFILE = $(if $(filter command% environment,$(origin PROFILE)),--profile $(PROFILE))
# This machine's processor, by Lambda's names.
HERE := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)

.PHONY: help build drop prescale-plan prescale-parameters calibrate bench faults prove replay scale scale-proof hostile mutants up token dev invoke logs client test lint template alarms commands nightly openapi package package-twice bootstrap deploy deploy-test smoke operator-token status redrive ledger-rebuild rollback teardown clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build everything: the functions, the stack, and every tool
	@infra/tools/setup drop
	@infra/tools/build all

drop: ## run a whole drop on this machine and report on it: DROP=file SHOPPERS=n SEED=n FAULTS=a,b GATEWAY_RATE=calls; PRESCALE=compare runs it without and with pre-scaling
	@case "$(PRESCALE)" in \
	'') infra/tools/setup drop && infra/tools/build drop && exec $(BIN)/loadtest drop --drop $(DROP) $(if $(SHOPPERS),--shoppers $(SHOPPERS)) $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(GATEWAY_RATE),--gateway-rate $(GATEWAY_RATE)) ;; \
	compare) infra/tools/setup test && infra/tools/build scaled && exec $(BIN)/loadtest compare --drop $(if $(filter command% environment,$(origin DROP)),$(DROP),loadtest/drops/step.toml) \
		$(if $(SHOPPERS),--shoppers $(SHOPPERS)) $(if $(SEED),--seed $(SEED)) $(if $(PLATFORM_MS),--platform-ms $(PLATFORM_MS)) ;; \
	*) echo "PRESCALE=compare, or nothing" >&2; exit 2 ;; \
	esac

bench: ## measure cost, cold starts and load beside plain functions (needs Node.js 20); a table and target/bench: ONLY=size,cold,cpu,load ROUNDS=n
	@infra/tools/setup test
	@infra/tools/build bench
	@infra/tools/package --arch $(HERE) --stand-ins
	@loadtest/bench/node/build target/bench/node
	@exec $(BIN)/bench $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS))

faults: ## run every fault alone and everything at once on three drops: SEED=1-5 SHOPPERS=n FAULTS=a,b DROPS=pairs,single; target/faults/summary.json
	@infra/tools/setup drop
	@infra/tools/build drop
	@exec infra/tools/fault-matrix $(if $(SEED),--seeds $(SEED)) $(if $(SHOPPERS),--shoppers $(SHOPPERS)) \
		$(if $(FAULTS),--faults $(FAULTS)) $(if $(DROPS),--drops $(DROPS))

prescale-plan: ## print the capacity plan of a drop, with times, cost and limits: DROP=file PROFILE=file QUOTAS=file BASELINE=file JSON=1
	@infra/tools/build plan
	@exec $(BIN)/prescale-plan $(if $(filter command% environment,$(origin DROP)),--drop $(DROP)) \
		$(OWN_PROFILE) $(if $(QUOTAS),--quotas $(QUOTAS)) $(if $(BASELINE),--baseline $(BASELINE)) $(if $(JSON),--json)

calibrate: ## make a capacity profile from measured drops: FROM="file ..." PROFILE=file OUT=file
	@infra/tools/build drop
	@exec $(BIN)/loadtest calibrate --from $(FROM) --profile $(PROFILE) $(if $(OUT),--out $(OUT))

prescale-parameters: ## write infra/prescale as input for `aws ssm put-parameter`, into target/prescale: STAGE=name PROFILE=file QUOTAS=file BASELINE=file
	@python3 infra/tools/prescale_parameters.py $(if $(STAGE),--stage $(STAGE)) $(OWN_PROFILE) $(if $(QUOTAS),--quotas $(QUOTAS)) $(if $(BASELINE),--baseline $(BASELINE)) target/prescale

up: ## run the local stack until Ctrl-C; target/local/stack.json has the addresses: FAULTS=a,b
	@infra/tools/setup test
	@infra/tools/build scaled
	@exec $(BIN)/stampede-local up --control-planes infra/prescale $(if $(FAULTS),--faults $(FAULTS))

token: ## print a shopper's bearer token for the running stack: SHOPPER=subject
	@$(BIN)/stampede-local token --shopper '$(SHOPPER)'

dev: ## run the functions under cargo lambda watch, beside a running `make up`
	@infra/tools/setup test
	@exec infra/tools/dev

invoke: ## invoke one function with an event under `make dev`: FN=reserve EVENT=file
	@test -n "$(FN)" || { echo "FN=function EVENT=functions/FN/events/file.json" >&2; exit 2; }
	@infra/tools/invoke $(FN) $(EVENT)

logs: ## print the log lines of one order in the running stack of `make up`: ORDER=id (or last) FOLDER=folder
	@infra/tools/logs $(or $(ORDER),last) $(FOLDER)

client: ## generate a TypeScript client from docs/openapi.json and buy a unit with it on a separate stack
	@infra/tools/setup test
	@infra/tools/build drop
	@infra/tools/client

scale: ## run a drop of full size in virtual time, on models of AWS's limits; target/scale: CROWD=steep|sustained|ramp or DROP=file, SHOPPERS=n EXPECTS=n UNITS=n PROFILE=file QUOTAS=file BASELINE=file PLAN=off CDN=on LIFT=limit,limit DESIGN=old FIND=limit LASTS=seconds SEED=n
	@[[ "$(PLAN):$(CDN):$(FIND)" =~ ^(off)?:(on)?:(limit)?$$ ]] || { echo "PLAN=off, CDN=on, FIND=limit, or nothing" >&2; exit 2; }
	@infra/tools/build scale
	@exec $(BIN)/scale $(if $(filter command% environment,$(origin DROP)),--drop $(DROP)) $(if $(CROWD),--crowd $(CROWD)) $(if $(SHOPPERS),--shoppers $(SHOPPERS)) $(if $(EXPECTS),--expects $(EXPECTS)) $(if $(UNITS),--units $(UNITS)) \
		$(OWN_PROFILE) $(if $(QUOTAS),--quotas $(QUOTAS)) $(if $(BASELINE),--baseline $(BASELINE)) $(if $(PLAN),--no-plan) $(if $(CDN),--cdn) $(if $(LIFT),--lift $(LIFT)) $(if $(DESIGN),--design $(DESIGN)) $(if $(FIND),--find-limit) $(if $(LASTS),--seconds $(LASTS)) $(if $(SEED),--seed $(SEED))

scale-proof: ## compare the model with load runs on this machine, drop by drop: DROPS=pairs,single SEED=1-5 SHOPPERS=n, or FROM="report ..." of runs; target/scale-proof
	@infra/tools/setup drop
	@infra/tools/build drop
	@infra/tools/build scale
	@exec infra/tools/scale-proof $(if $(filter command% environment,$(origin FROM)),--reports $(FROM)) $(if $(DROPS),--drops $(DROPS)) \
		$(if $(SEED),--seeds $(SEED)) $(if $(SHOPPERS),--shoppers $(SHOPPERS))

hostile: ## send hostile requests, and fuzz every parser of outside input: CASES=n FUZZ_SECONDS=n (for each target) SEED=n ONLY=cases|raw|fuzz
	@infra/tools/setup drop
	@infra/tools/build drop
	@exec infra/tools/hostile $(if $(CASES),--cases $(CASES)) $(if $(FUZZ_SECONDS),--fuzz-seconds $(FUZZ_SECONDS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

test: ## run every test: unit, property, contract, journeys, invocations, the template's checks
	@infra/tools/setup test
	@infra/tools/steps test

prove: ## replay many drops, then send hostile input; target/prove: DROPS=n or MINUTES=n (2), SEED=first, OF=orders, CASES=n FUZZ_SECONDS=n
	@infra/tools/setup drop
	@infra/tools/build prove
	@$(BIN)/replay prove $(if $(OF),--of $(OF)) $(if $(DROPS),--drops $(DROPS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))
	@infra/tools/hostile $(if $(CASES),--cases $(CASES)) $(if $(FUZZ_SECONDS),--fuzz-seconds $(FUZZ_SECONDS))

replay: ## replay one drop and print its history: SEED=n (OF=orders) or PLAN=file; SAVE=file keeps its plan
	@infra/tools/build prove
	@exec $(BIN)/replay $(if $(PLAN),--plan $(PLAN),--seed $(or $(SEED),1) $(if $(OF),--of $(OF))) $(if $(SAVE),--save $(SAVE))

mutants: ## change the rules of shared/domain one at a time; its tests must notice each change: RULES="shard plan"; target/mutants
	@infra/tools/setup mutants
	@mkdir -p target
	@# Each job builds in its own copy of the tree: jobs that share a target folder would test each other's changes.
	@PROPTEST_CASES=$(or $(CASES),64) env -u CARGO_TARGET_DIR .tools/bin/cargo-mutants mutants --package domain --jobs 2 \
		$(foreach rule,$(RULES),--file shared/domain/src/$(rule).rs) --output target/mutants

lint: ## check formatting, clippy's lints and dependencies
	@infra/tools/setup test
	@infra/tools/steps lint

template: ## expand and check the templates
	@infra/tools/setup test
	@.tools/venv/bin/python infra/tools/check_template.py infra/template.yaml infra/network-and-database.yaml
	@.tools/venv/bin/python infra/tools/template_policies.py
	@.tools/venv/bin/python infra/tools/check_observability.py

alarms: ## write infra/observability: the alarms and the dashboard, from infra/tools/observability.py
	@infra/tools/setup test
	@.tools/venv/bin/python infra/tools/observability.py

commands: ## run the commands of the README that have a short form
	@infra/tools/setup test
	@infra/tools/commands small

nightly: ## run the commands that are too long for each change
	@infra/tools/setup test
	@infra/tools/commands nightly

openapi: ## write docs/openapi.json from the types of shared/api
	UPDATE_GOLDEN=1 infra/tools/cargo-tools test --workspace --no-default-features --test openapi

# `sam build` calls this target for a function whose BuildMethod is makefile.
build-%Function:
	@infra/tools/package --arch $(ARCH) --function $*Function --into $(ARTIFACTS_DIR)

package: ## build one zip for each function, for AWS; target/package: ARCH=arm64|x86_64
	@infra/tools/setup test
	@infra/tools/package --arch $(ARCH)

package-twice: ## package in two folders with different names, and compare the zips
	@infra/tools/setup test
	@infra/tools/package-twice

# The command of a deployment's targets, with the variables that are set.
DEPLOY = .tools/deploy/bin/python infra/deploy $@ --stage $(or $(STAGE),$(error Say which stage: make $@ STAGE=dev)) $(if $(CONFIG),--config $(CONFIG)) $(if $(EMULATOR),--emulator)

bootstrap: ## create a stage's bucket, keys, gateway secret and documents in the account, once for each stage: STAGE=name ROTATE=shopper|operator|deployer
	@infra/tools/setup deploy
	@$(DEPLOY) $(if $(ROTATE),--rotate $(ROTATE))

deploy: ## package, migrate, deploy and test a stage; roll back when the test fails: STAGE=name FORCE=1
	@infra/tools/setup deploy
	@$(DEPLOY) $(if $(FORCE),--force)

smoke: ## publish an unlisted drop on a deployed stage, reserve a unit and release it: STAGE=name
	@infra/tools/setup deploy
	@$(DEPLOY)

operator-token: ## print an operator's token for a deployed stage, valid for an hour: STAGE=name SUBJECT=name
	@infra/tools/setup deploy >&2
	@$(DEPLOY) --subject "$(SUBJECT)"

status: ## show what is deployed, and what needs attention: STAGE=name
	@infra/tools/setup deploy
	@$(DEPLOY)

redrive: ## return dead letters or failed stream records to their consumers: STAGE=name QUEUE=payments|ledger|mail|relay SHOW=1
	@infra/tools/setup deploy
	@$(DEPLOY) --queue "$(QUEUE)" $(if $(SHOW),--show)

ledger-rebuild: ## send every order of the orders table to the ledger again, to restore lost rows: STAGE=name
	@infra/tools/setup deploy
	@$(DEPLOY)

rollback: ## make the former version of each function live: STAGE=name
	@infra/tools/setup deploy
	@$(DEPLOY)

teardown: ## delete a stage's stacks, dev's data too; lists what it leaves, refuses prod: STAGE=name TYPED=name
	@infra/tools/setup deploy
	@$(DEPLOY) --typed "$(TYPED)"

deploy-test: ## deploy to an emulated account, buy there, upgrade while two clients buy, roll back; target/deploy-test
	@infra/tools/setup test
	@infra/tools/setup deploy
	@infra/tools/build deploy
	@exec .tools/deploy/bin/python infra/deploy/trial.py

clean: ## remove what was built and installed
	rm -rf target .tools
