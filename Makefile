# Two commands do everything on a machine with python3, pip and make:
#   make demo    install, build the demo atlas and its site
#   make test    install what tests need and run them all

PYTHON ?= python3
BIN := .venv/bin
DEMO := build/out/demo

.DEFAULT_GOAL := demo
.PHONY: demo test lint bench-demo bench-prepass bench-whole bench-gpu bench-networks bench-site crawl screenshots bench-lookup docs docs-site clean

demo: .venv/installed
	$(BIN)/atlas build demo --out $(DEMO)

test: .venv/installed-tests lint
	$(BIN)/pytest -n logical --maxprocesses 4 --dist loadfile

lint: .venv/installed-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Accuracy of the demo network and what its channels stand for.
bench-demo: demo .venv/installed-tests
	$(BIN)/python benchmarks/demo_world.py

# The pre-pass beside zennit-crp and the bare passes of VGG16.
bench-prepass: .venv/installed-tests
	$(BIN)/python benchmarks/prepass.py
	$(BIN)/python benchmarks/passes.py

# Seconds of each stage of a whole build; PHOTOS is a folder of photographs, without it they are left out.
bench-whole: .venv/installed-tests
	$(BIN)/python benchmarks/whole.py $(if $(PHOTOS),--photos $(PHOTOS),--only demo --only stream)

# The pre-pass, patches and index on a GPU, in eight minutes.
bench-gpu: .venv/installed-tests
	$(BIN)/python benchmarks/gpu.py

# Relevance on some 290 architectures beside an independent computation.
bench-networks: .venv/installed-tests
	$(BIN)/python benchmarks/networks.py

# A site of VGG16's size beside plain MkDocs Material.
bench-site: .venv/installed-tests
	$(BIN)/python benchmarks/site.py

# Every link, picture, title and id of the demo's site.
crawl: demo .venv/installed-tests
	ATLAS_DEMO=$(DEMO) $(BIN)/pytest tests/site/test_pages.py -k whole_demo

# Pictures of the demo's pages, for docs/screenshots.
screenshots: demo .venv/installed-tests
	$(BIN)/python docs/screenshots/take.py $(DEMO) docs/screenshots

# The references of commands, Python, recipes and tables, from the code.
docs: .venv/installed-tests
	$(BIN)/python docs/make.py

# The documentation as a site in build/out/docs; a link that leads nowhere ends it.
docs-site: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file mkdocs-docs.yml

# How quickly channels are found in an atlas of VGG16's size.
bench-lookup: .venv/installed-tests
	$(BIN)/python benchmarks/lookup.py

clean:
	rm -rf .venv build/out dist .mypy_cache .pytest_cache .ruff_cache

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet --editable .
	touch $@

.venv/installed-tests: .venv/installed
	$(BIN)/pip install --disable-pip-version-check --quiet --editable '.[test]'
	@# The browser tests drive Debian's Chromium; without one they are skipped and say so.
	@if ! command -v chromium >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && apt-get install -qq --no-install-recommends chromium >/dev/null \
		|| echo "chromium could not be installed: browser tests will be skipped"; fi
	touch $@
