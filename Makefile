# geop2p: `make demo` shows what it does, `make test` checks it. Both set everything up from nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MINUTES ?= 10
ROUNDS ?= 1 3
WORK ?= runs/models
LOCATED_SCENE := sample_tiles/massachusetts/18778720.tif
STREETS_SCENE := sample_tiles/dubai/scene3_part.jpg

.PHONY: demo test coverage test-slow fuzz types lint format bench models docs install clean
.DEFAULT_GOAL := install

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	mkdir -p demo
	$(BIN)/geop2p translate $(STREETS_SCENE) --out demo/dubai_map.tif \
	    --preview demo/dubai.png --overwrite
	$(BIN)/geop2p translate $(LOCATED_SCENE) --model roads --palette card \
	    --out demo/massachusetts_map.tif --preview demo/massachusetts.png --overwrite
	@echo "Look at demo/dubai.png and demo/massachusetts.png: each by the generator of its landscape."
	@echo "Open demo/massachusetts_map.tif over $(LOCATED_SCENE) in QGIS: it lies exactly on it."

test: $(STAMP) lint types
	$(BIN)/python -m pytest

coverage: $(STAMP)
	$(BIN)/python -m pytest --cov --cov-report=term

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# files damaged at random, for MINUTES; those that break the rule are left in this folder
fuzz: $(STAMP)
	$(BIN)/python tests/fuzz.py --minutes $(MINUTES)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# mypy cannot follow the package mapping, so it is shown a tree of links that has the installed shape.
types: $(STAMP)
	rm -rf build/types && mkdir -p build/types/geop2p
	ln -s $(CURDIR)/geop2p/* build/types/geop2p/
	ln -s $(CURDIR)/cli $(CURDIR)/pipelines build/types/geop2p/
	cd build/types && $(CURDIR)/$(BIN)/python -m mypy --cache-dir $(CURDIR)/.mypy_cache --config-file $(CURDIR)/pyproject.toml --strict -p geop2p

# SCENE=FILE measures on that scene; without one it is the sample, mirrored. Some 20 minutes
bench: $(STAMP)
	$(BIN)/python -m pip show --quiet monai || \
	    $(BIN)/python -m pip install --quiet -c constraints.txt -e ".[bench]"
	@failed=; run() { echo "benchmarks/$$*"; $(BIN)/python -W ignore benchmarks/$$* || failed="$$failed $$1"; }; \
	run engines.py; \
	run translate_cpu.py $(SCENE) --rounds $(ROUNDS); \
	run memory.py; \
	run startup.py; \
	run decoding.py $(SCENE); \
	run many.py $(SCENE); \
	run finish.py --repeats 1; \
	run train.py --rounds 3; \
	$(BIN)/python benchmarks/pictures.py; \
	$(BIN)/python benchmarks/page.py; \
	$(BIN)/python benchmarks/summary.py; \
	test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

# the bundled models again, from WORK/pairs_streets and WORK/pairs_roads or from DATA, with their
# scores; three hours or more
models: $(STAMP)
	$(BIN)/python benchmarks/models/make_models.py $(WORK) $(MODELS) $(if $(DATA),--data $(DATA))

docs: $(STAMP)
	$(BIN)/python docs/make_docs.py

clean:
	rm -rf build dist demo *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
