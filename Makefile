# make run    jobmeter on this machine, ready in a minute or two: http://127.0.0.1:8000
# make test   all tests that need no batch system; sets up what it needs
# Other targets: test-system, lint, bench, docs, vendor, clean.

.PHONY: run test test-system lint bench docs vendor clean
.DEFAULT_GOAL := run

# Further options of the command: make run ARGS='--port 9000'
ARGS ?=
# Further options of pytest: make test TESTS='tests/store -k duplicate'
TESTS ?=
# Records to measure with.
RECORDS ?= 1000000

run:
	@.ci/environment all
	@exec .venv/bin/jobmeter up $(ARGS)

test:
	@.ci/environment all,test,browser
	@.ci/environment --programs
	.venv/bin/python -m pytest -m 'not system' $(TESTS)

# Installs and starts real batch systems on this machine (Debian, root), stops them afterwards.
test-system:
	@.ci/environment all,test
	@.ci/environment --programs
	.venv/bin/python -m pytest -m system $(TESTS)

lint:
	@.ci/environment all,lint,test
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench:
	@.ci/environment all
	@.ci/environment --programs
	.venv/bin/python -m bench.run --records $(RECORDS) $(ARGS)

# Writes the reference pages anew from what the code declares, then all of docs/ as a site; a broken link is a fault.
docs:
	@.ci/environment all
	.venv/bin/python -m jobmeter.run.reference docs/reference
	.venv/bin/python -m jobmeter.run.reference.site build/docs

# Fetches anew the scripts of others that the pages bring along; needs npm.
vendor:
	packaging/vendor.sh

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests bench -name __pycache__ -prune -exec rm -rf {} +
