# make demo    two portraits, aligned, projected and mixed; no torch is installed
# make test    everything that is tested, with torch on the CPU
# make ext     the compiled kernels of mien.ops, for the tests' environment
# make kernels   the CUDA kernels as machine code and PTX, where nvcc is; NVRTC does it otherwise
# make check   style, types, layers, the documentation without a warning
# make docs    the documentation as a site: build/site/index.html
# make dist    both archives, checked, and installed where there is no compiler
# make notices the list of third-party packages and their licences, made anew
# make bench   the projection step side by side; import time and memory; AdaIN against ONNX Runtime
# make zoo     the bundle that comes with mien, made anew from the zoo's checkpoints
# make zoo-smoke   every script of the zoo, for a minute, with an interruption

PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN := .venv-run
DEV := .venv-dev
# Files are kept together: their fixtures export networks, which takes longer than the tests.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Where there is no compiler, the tests of the kernels say that they are skipped.
COMPILED := $(if $(shell command -v $(CXX)),$(DEV)/.ext)

.PHONY: demo test test-fast ext kernels check docs dist notices fix bench zoo zoo-smoke clean

demo: $(RUN)/.ready
	$(RUN)/bin/mien demo

test: $(DEV)/.ready $(COMPILED)
	$(DEV)/bin/python -m pytest $(SIDE_BY_SIDE)

test-fast: $(DEV)/.ready $(COMPILED)
	$(DEV)/bin/python -m pytest $(SIDE_BY_SIDE) -m "not slow"

ext: $(DEV)/.ext

kernels: $(DEV)/.ready
	$(DEV)/bin/python -c "from mien_engines.kernels.compiled import build; print(*build(), sep='\n')"

check: $(DEV)/.ready
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports
	$(MAKE) docs

docs: $(DEV)/.ready
	NO_MKDOCS_2_WARNING=1 $(DEV)/bin/mkdocs build --strict --quiet

dist: $(DEV)/.ready
	rm -rf dist
	$(DEV)/bin/python -m build
	$(DEV)/bin/twine check --strict dist/*
	$(DEV)/bin/python tools/distribution.py dist

notices: $(DEV)/.ready
	$(DEV)/bin/python tools/notices.py

fix: $(DEV)/.ready
	$(DEV)/bin/ruff format .
	$(DEV)/bin/ruff check --fix .

bench: $(DEV)/.ready $(COMPILED)
	$(DEV)/bin/python benchmarks/projection_step.py
	$(DEV)/bin/python benchmarks/import_cost.py
	$(DEV)/bin/python benchmarks/adain_cpu.py

zoo: $(DEV)/.ready
	$(DEV)/bin/python export/zoo/ship.py

zoo-smoke: $(DEV)/.ready
	$(DEV)/bin/python -m pytest tests/export/test_zoo.py

$(RUN)/.ready: pyproject.toml
	$(PYTHON) -m venv $(RUN)
	$(RUN)/bin/pip install --quiet --editable '.[cpu]'
	touch $@

# TensorRT-RTX parses and builds engines without a GPU. Its wheels are installed by name, since the
# package that would pull them in is a source archive. They exist for Linux and Windows on x86-64.
$(DEV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/pip install --quiet torch==2.13.0
	$(DEV)/bin/pip install --quiet --editable '.[cpu,export,dev]'
	-$(DEV)/bin/pip install --quiet --no-deps \
		tensorrt-rtx-cu13-libs==1.7.1.116 tensorrt-rtx-cu13-bindings==1.7.1.116
	touch $@

$(DEV)/.ext: $(DEV)/.ready $(wildcard cpp_ext/* cpp_ext/cpu/*)
	MIEN_EXT=true $(DEV)/bin/pip install --quiet --no-deps --editable .
	touch $@

clean:
	rm -rf $(RUN) $(DEV) build dist mien-demo
