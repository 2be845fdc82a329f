# `make` alone lists the targets. Every target sets itself up: it makes .venv when that is missing or out of date.

CONFIG ?= config/demo.yaml
DATA ?=
PROFILE ?=
GPUS ?=
CORES ?=
PORT ?= 8000
TESTS ?= tests
PYTHON ?= python3
# On Linux, PyPI's torch carries CUDA (several GB). Without a GPU, ask for PyTorch's own CPU index instead:
#   make book TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt
PEERS := .venv-peers
PEER_PACKAGES = $(shell sed -n 's/^peers = \[\(.*\)\]/\1/p' pyproject.toml | tr -d '",')
TORCH := $(shell grep -i '^torch==' constraints.txt)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help book test interop serve bench lint sync clean
export CONFIG DATA PROFILE
# a user's setting for their own code would end ours with a traceback
unexport PYTHONWARNINGS

help:  ## print this list
	@echo "What single-cell foundation models know: an executable book. Targets:"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo "Options of make book: CONFIG=config/demo.yaml  DATA=my.h5ad  PROFILE=slurm  GPUS=4  CORES=8"
	@echo "On Linux without a GPU, the first time: TORCH_INDEX=https://download.pytorch.org/whl/cpu"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "This needs Python 3.11 to 3.13; $(PYTHON) is %d.%d. Try: make PYTHON=python3.12" % v)'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo "Making $(VENV) with $$($(PYTHON) --version)"; $(PYTHON) -m venv $(VENV) || { echo "Making $(VENV) failed. Debian and Ubuntu have venv in a package of its own: apt install python3-venv"; exit 1; }; }
	@echo "Installing the pinned packages into $(VENV): a few minutes, once"
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@$(PIP) --editable '.[dev]'
	@touch $@
	@echo "Installed. The command is $(BIN)/biosae"

book: $(READY)  ## run the analysis that CONFIG names and render it into _build/html
	@$(BIN)/python -m biosae_utils.book.build --config "$$CONFIG" $(if $(CORES),--cores $(CORES)) $(if $(DATA),--data "$$DATA") $(if $(PROFILE),--profile "$$PROFILE") $(if $(GPUS),--gpus $(GPUS))

test: $(READY)  ## run the tests, with a tiny book end to end and a browser where there is one
	@echo "Testing $(TESTS)"
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest $(TESTS)

$(PEERS)/.installed: pyproject.toml
	@echo "Installing other SAE libraries into $(PEERS), apart from ours: a few minutes, once"
	@$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install -qq --disable-pip-version-check $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@$(PEERS)/bin/python -m pip install -qq --disable-pip-version-check $(TORCH) $(PEER_PACKAGES) pytest pytest-timeout pyarrow rich
	@# nnsight brings a torchvision for another build of torch, which breaks imports and which nothing here uses
	@$(PEERS)/bin/python -m pip uninstall -qq --yes torchvision
	@touch $@

interop: $(PEERS)/.installed  ## load our SAEs in SAELens itself, and SAELens' in ours
	@PYTHONPATH=. $(PEERS)/bin/python -m pytest -m slow -p no:cacheprovider tests/sae/test_saelens_interop.py

serve: $(READY)  ## show the rendered book on http://127.0.0.1:8000 (PORT=...)
	@test -f _build/html/index.html || { echo "There is no book yet. Run: make book"; exit 1; }
	@echo "The book is on http://127.0.0.1:$(PORT) - end with Ctrl-C"
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

bench: $(READY)  ## measure speed and quality on this machine into benchmarks/results
	@echo "Benchmarks write benchmarks/results/<name>.<machine>.json; leave the machine alone while they run"
	@$(BIN)/python -m benchmarks

lint: $(READY)  ## check style, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

sync: $(READY)  ## write what is derived from the phases' declarations: parameter cells, config/README.md, _toc.yml
	@$(BIN)/python -m biosae_utils.book.sync

clean:  ## remove what was made: _build, results, book/executed (not .venv*, not data/fetched)
	@echo "Removing _build, results and book/executed. Kept: $(VENV), data/fetched, benchmarks/results"
	@rm -rf _build results book/executed
