# The one entry to everything: run, test, measure.

.PHONY: help demo build python test test-camera check bench fuzz
.DEFAULT_GOAL := help

# Where a test that cannot run here writes its name and the reason.
skipped := $(or $(CARGO_TARGET_DIR),target)/skipped-tests.txt

help: ## what there is to make
	@sed -n 's/^\([a-z-]*\):.* ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: build ## live video in your browser: installs what is missing, builds, runs
	target/release/framewire demo

build:
	scripts/setup
	cargo build --release

python: ## the Python package: a wheel in target/wheel/dist, installed into .deps/python-venv
	scripts/setup wheel
	scripts/wheel-libraries
	rm -rf target/wheel/dist
	cd crates/python && PKG_CONFIG_PATH=$(CURDIR)/.deps/wheel/prefix/lib/pkgconfig CARGO_TARGET_DIR=$(CURDIR)/target/wheel \
	  $(CURDIR)/.deps/python-venv/bin/maturin build --release --features bundled --auditwheel repair --out $(CURDIR)/target/wheel/dist
	.deps/python-venv/bin/python -m pip install -q --force-reinstall --no-deps target/wheel/dist/*.whl

test: ## every test but those that need a camera
	scripts/setup test
	$(MAKE) --no-print-directory check
	node --test tests/page/
	$(MAKE) --no-print-directory python
	.deps/python-venv/bin/python -m pytest -q crates/python/tests
	tests/wheel/pythons
	@mkdir -p $(dir $(skipped)) && rm -f $(skipped)
	@tests/wheel/run || { [ $$? -eq 3 ] && [ -z "$$FRAMEWIRE_REQUIRE_ALL" ] && echo 'tests/wheel/run: it takes root and debootstrap' >> $(skipped); }
	@status=0; cargo test --release --workspace || status=$$?; \
	if [ -s $(skipped) ]; then echo 'Skipped, since this machine or user does not allow them:'; sort -u $(skipped); \
	else echo 'No test was skipped.'; fi; exit $$status

test-camera: build ## cameras, in a virtual machine that has some
	scripts/setup test camera
	tests/camera/run

check: ## formatting, and every warning as an error
	cargo fmt --all --check
	cargo clippy --release -p framewire --no-default-features -- --deny warnings
	cargo clippy --release -p framewire --no-default-features --features server -- --deny warnings
	cargo clippy --release -p framewire --no-default-features --features window -- --deny warnings
	cargo clippy --release --workspace --all-targets -- --deny warnings

bench: build ## framewire beside its peers, with tables
	scripts/setup bench
	$(MAKE) --no-print-directory python
	.deps/bench-venv/bin/python -m pip install -q --force-reinstall --no-deps target/wheel/dist/*.whl
	cargo build --release --workspace
	bench/run
	bench/python --output bench/PYTHON.md
	$(if $(filter 0,$(shell id -u)),,sudo) bench/links --output bench/LINKS.md

fuzz: ## random and broken input for every parser
	fuzz/run
