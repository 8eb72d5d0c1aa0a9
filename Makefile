# The two commands of the README, and the checks that CI runs. Each makes .venv where it is missing.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
# all cores compile the bytecode at the end: pip alone takes half a minute more
PIP := $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-compile

# of the machine with the GPU
GPU_PYTHON ?= 3.12
GPU_PLATFORMS := manylinux_2_28_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64

.PHONY: run test check bench audit soak gpu-check gpu-wheels clean

run: $(STAMP)  ## the main job: suites/celeba.toml, on $$CELEBA_ROOT where that is set
	$(VENV)/bin/harness run suites/celeba.toml

# bytecode is written even where the environment forbids it: a hundred processes would compile the same files
test: $(STAMP)  ## all tests, and each benchmark once at a tiny size; a process per core; one thread each, or they wait for each other
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

check: $(STAMP)  ## style, types, import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(STAMP)  ## timings against peers and bare passes, with a table of all bars; torchattacks asks for a torchvision that it does not need
	$(PIP) --no-deps torchattacks
	$(VENV)/bin/pytest tests/benchmarks --benchmark-enable --continue-on-collection-errors

audit: $(STAMP)  ## how often the intervals of rates and means cover the truth, by simulation: some minutes
	AUDIT=1 OMP_NUM_THREADS=1 $(VENV)/bin/pytest -q -s tests/benchmarks/test_coverage.py

soak: $(STAMP)  ## a hundred kills at random moments, in every executor: nothing is lost, doubled or half-read; some minutes
	SOAK=100 OMP_NUM_THREADS=1 $(VENV)/bin/pytest -q -n0 tests/cli/test_soak.py

gpu-check:  ## the same numbers on a GPU as on the CPU, in at most six minutes; needs a python3 with torch, but no .venv and no network
	$(PYTHON) tests/gpu/gpu_check.py

gpu-wheels:  ## fetches to wheels/, for gpu-check on a machine without a network, what such a machine often lacks
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --implementation cp \
		--python-version $(GPU_PYTHON) $(addprefix --platform ,$(GPU_PLATFORMS)) -d wheels -r tests/gpu/wheels.txt

$(STAMP): pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt torch
	$(PIP) -c constraints.txt -e '.[dev]'
	$(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true  # torch holds a file for newer Pythons
	touch $(STAMP)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
