# What there is to do. Every target creates the environment first where it is missing.
#
#   make demo               train and compare stock Mask R-CNN and its semi-convolutional twin
#   make bbbc010            the same on real worms: BBBC010=folder of the dataset
#   make dots               the paper's experiment with dots: can an operator tell copies apart?
#   make drop-in            what attaching costs, for several σ
#   make figures            the pictures and tables of README and docs, from results/ and trained models
#   make docs               the site, into site/, which opens from disk
#   make test               lint and tests
#   make test-slow          the tests that take minutes
#   make lint               style and types alone
#   make environment        the environment alone
#   make -s python          path of the environment's interpreter, for anything else
#   make demo-checkpoint    the shipped models of stage 1, which take an hour or two:
#   make bbbc010-checkpoint also BBBC010=folder
#   make lock               the pinned versions, after changing requirements/*.in
#
#   VENV=folder             where the environment is, or is created       (.venv)
#   PYTHON=interpreter      an environment of your own, used as it is
#   DETECTRON2=github       builds Detectron2 from its main branch

VENV ?= .venv
DETECTRON2 ?=
PYTHON ?=

HOST_PYTHON = $(shell command -v python3 || command -v python3.13 || command -v python3.12 || \
    command -v python3.11 || command -v python3.10 || echo python3)
# Prints the interpreter to use, and everything else on stderr.
FIND_PYTHON = $(if $(PYTHON),command -v "$(PYTHON)",\
    "$(HOST_PYTHON)" requirements/environment.py "$(VENV)" $(if $(DETECTRON2),--detectron2 $(DETECTRON2)))

.PHONY: help python environment docs lint test test-slow demo drop-in demo-checkpoint dots bbbc010 bbbc010-checkpoint figures lock

help:
	@sed -n '/^#/!q;s/^# \{0,1\}//p' Makefile

python:
	@$(FIND_PYTHON)

environment:
	@$(FIND_PYTHON) >&2

docs:
	@python="$$($(FIND_PYTHON))" && NO_MKDOCS_2_WARNING=1 "$$python" -m mkdocs build --strict && \
	echo "site/index.html"

lint:
	@python="$$($(FIND_PYTHON))" && "$$python" -m ruff check . && "$$python" -m ruff format --check . && \
	"$$python" -m mypy

test: lint
	@python="$$($(FIND_PYTHON))" && "$$python" -m pytest -m "not slow"

test-slow:
	@python="$$($(FIND_PYTHON))" && "$$python" -m pytest -m slow

# The demo's own data, so that it never meets what lies in the folder of your datasets.
DEMO = output/demo
demo drop-in demo-checkpoint: export DETECTRON2_DATASETS = $(DEMO)/datasets

demo:
	@python="$$($(FIND_PYTHON))" && "$$python" datasets/prepare_synthetic_worms.py && \
	"$$python" tools/drop_in.py --config-file configs/demo_semiconv.yaml --output $(DEMO)

# What attaching costs before any fine-tuning, for several σ, beside what the demo shows.
drop-in:
	@python="$$($(FIND_PYTHON))" && "$$python" datasets/prepare_synthetic_worms.py && \
	"$$python" tools/drop_in.py --config-file configs/demo_semiconv.yaml --output $(DEMO)_drop_in \
	    --sigmas 1 2 5 10 20 50 100

# Trains the demo's model of stage 1, which is shipped: 40 minutes on one core.
demo-checkpoint:
	@python="$$($(FIND_PYTHON))" && "$$python" datasets/prepare_synthetic_worms.py && \
	"$$python" tools/train_net.py --config-file configs/demo_mask_rcnn.yaml SEED 1 && \
	"$$python" tools/strip_checkpoint.py --half output/demo_mask_rcnn/model_final.pth checkpoints/demo_mask_rcnn.pth

# Stage 2 on BBBC010 from the shipped stage 1, beside the stock model.
bbbc010:
	@test -d "$(BBBC010)" || { echo "error: make bbbc010 BBBC010=FOLDER, see datasets/README.md" >&2; exit 1; }
	@python="$$($(FIND_PYTHON))" && "$$python" datasets/prepare_bbbc010.py "$(BBBC010)" && \
	"$$python" tools/drop_in.py --config-file configs/bbbc010_small_semiconv.yaml --output output/bbbc010_small

# Trains the shipped stage 1 of BBBC010: about two hours on one core.
bbbc010-checkpoint:
	@test -d "$(BBBC010)" || { echo "error: make $@ BBBC010=FOLDER, see datasets/README.md" >&2; exit 1; }
	@python="$$($(FIND_PYTHON))" && "$$python" datasets/prepare_bbbc010.py "$(BBBC010)" && \
	"$$python" tools/train_net.py --config-file configs/bbbc010_small_mask_rcnn.yaml SEED 1 && \
	"$$python" tools/strip_checkpoint.py --half output/bbbc010_small_mask_rcnn/model_final.pth checkpoints/bbbc010_small_mask_rcnn.pth

# Needs no dataset: draws its images in memory.
dots:
	@python="$$($(FIND_PYTHON))" && "$$python" tools/dots.py

# Pictures whose model or data are not there are left as they are, and named.
figures:
	@python="$$($(FIND_PYTHON))" && "$$python" tools/figures.py

# Needs uv. Run after changing requirements/*.in.
lock:
	for name in build lock; do \
	    uv pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	        --no-emit-index-url --custom-compile-command "make lock" \
	        requirements/$$name.in --output-file requirements/$$name.txt || exit 1; \
	done
