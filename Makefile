# hookgrad's commands. Each sets up what it needs: a virtual environment in .venv, the packages, the extension, rebuilt
# when a C source has changed. `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
CC ?= cc
COMMA := ,
# The comparison with PyTorch runs on the Python that PyTorch's wheel is for, in an environment of its own. For PyTorch's
# CPU wheels: make oracle TORCH_PIP="--index-url URL", with the index PyTorch names for them
ORACLE ?= .oracle
ORACLE_PYTHON ?= python3.11
TORCH_PIP ?=
# The versions of Python that `make versions` looks for.
VERSIONS ?= 3.10 3.12 3.13
# How tests are shared out: one process a core.
WORKERS ?= -n auto

PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet
CORE := $(sort $(wildcard csrc/core/*.c))
BINDING := $(sort $(wildcard csrc/python/*.c))
HEADERS := $(wildcard csrc/*/*.h csrc/*/*.def csrc/*/*/*.def csrc/*/*/*.h)
EXAMPLES := $(sort $(wildcard tests/examples/[0-9]*.py))

.PHONY: help setup demo examples test test-c sanitize tsan stress oracle notebooks bench wheel versions lint format memory import-time clean
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /|/' | awk -F'|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

# ---- Set-up --------------------------------------------------------------------------------------------------------

setup: $(VENV)/.built ## Make .venv and build hookgrad into it

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "hookgrad needs Python 3.10 or newer; give one with PYTHON=..."; exit 1; }
	@echo "Setting up $(VENV) (Python $$($(PYTHON) -c 'import platform; print(platform.python_version())'))"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.needs: $(VENV)/.made pyproject.toml
	@$(PIP) "setuptools>=77" "numpy>=1.23" scipy-openblas32
	@echo "$(CURDIR)" > "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/hookgrad.pth"
	@touch $@

$(VENV)/.built: $(VENV)/.needs setup.py $(CORE) $(BINDING) $(HEADERS)
	@echo "Building the extension"
	@$(PY) setup.py --quiet build_ext --inplace
	@$(PY) -m compileall -q hookgrad
	@touch $@

$(VENV)/.demo: $(VENV)/.made
	@$(PIP) matplotlib && touch $@
$(VENV)/.test: $(VENV)/.made pyproject.toml
	@$(PIP) pytest pytest-xdist && touch $@
$(VENV)/.notebook: $(VENV)/.made
	@$(PIP) matplotlib scikit-learn ipykernel nbclient nbformat && touch $@
$(VENV)/.zopfli: $(VENV)/.made
	@$(PIP) zopfli && touch $@ || echo "zopfli is not to be had: the wheel will be a thirtieth larger"
$(VENV)/.lint: $(VENV)/.made
	@$(PIP) ruff && touch $@

# ---- What a newcomer runs --------------------------------------------------------------------------------------------

demo: $(VENV)/.built $(VENV)/.demo ## Run the thirteen examples, then draw a convnet's activations into out/
	@$(PY) examples/demo.py

test: $(VENV)/.built $(VENV)/.test ## Run the whole test suite
	@$(VENV)/bin/pytest $(WORKERS)

# ---- What proves it -----------------------------------------------------------------------------------------------------

examples: $(VENV)/.built ## Compare every example's output with PyTorch's, byte for byte
	@for e in $(EXAMPLES); do \
	    $(PY) -m hookgrad $$e | diff - tests/examples/expected/$$(basename $$e .py).txt && echo "same: $$(basename $$e)" || exit 1; \
	done

C_FLAGS := -std=c11 -D_GNU_SOURCE -Wall -Wextra -fno-math-errno -fno-trapping-math -pthread -MMD -Icsrc/include -Icsrc/core \
           $(if $(filter 1,$(HOOKGRAD_WERROR)),-Werror)
C_TESTS := $(sort $(wildcard tests/c/*.c))

# $(1): where it is built, $(2): flags. The core and its tests, no Python in sight.
define c_build
$(1)/%.o: %.c
	@mkdir -p $$(@D)
	@$(CC) $(C_FLAGS) $(2) -c $$< -o $$@
$(1)/run-tests: $(addprefix $(1)/,$(CORE:.c=.o) $(C_TESTS:.c=.o))
	@$(CC) $(2) -pthread $$^ -o $$@ -lm -ldl
$(1)/run-hooks: $(addprefix $(1)/,$(CORE:.c=.o) csrc/examples/hooks.o)
	@$(CC) $(2) -pthread $$^ -o $$@ -lm -ldl
-include $(wildcard $(1)/csrc/*/*.d $(1)/tests/c/*.d)
endef
$(eval $(call c_build,build/c,-O2 -g -UNDEBUG))
$(eval $(call c_build,build/c-sanitize,-O1 -g -UNDEBUG -fno-omit-frame-pointer -fsanitize=address$(COMMA)undefined -fno-sanitize-recover=undefined))
$(eval $(call c_build,build/c-tsan,-O1 -g -UNDEBUG -fno-omit-frame-pointer -fsanitize=thread))

BUILD_SANITIZED = echo "Building the extension with sanitizers"; \
    HOOKGRAD_SANITIZE=1 $(PY) setup.py --quiet build --build-base build/sanitize --build-lib build/sanitize/lib
SANITIZED = env LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libstdc++.so)" \
    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=64 UBSAN_OPTIONS=print_stacktrace=1 \
    PYTHONMALLOC=malloc PYTHONPATH=$(CURDIR)/build/sanitize/lib HOOKGRAD_SANITIZED=1

test-c: ## Test the core alone, in C, without Python
	@$(MAKE) --no-print-directory -j2 build/c/run-tests build/c/run-hooks
	@build/c/run-tests
	@echo "csrc/examples/hooks.c:"
	@build/c/run-hooks

sanitize: $(VENV)/.needs $(VENV)/.test ## The C tests and the suite under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(MAKE) --no-print-directory -j2 build/c-sanitize/run-tests build/c-sanitize/run-hooks
	@ASAN_OPTIONS=detect_leaks=1 build/c-sanitize/run-tests
	@ASAN_OPTIONS=detect_leaks=1 build/c-sanitize/run-hooks > /dev/null
	@$(BUILD_SANITIZED)
	@$(SANITIZED) $(VENV)/bin/pytest $(WORKERS) --ignore=tests/test_memory.py

tsan: ## The C tests under ThreadSanitizer
	@$(MAKE) --no-print-directory -j2 build/c-tsan/run-tests
	@TSAN_OPTIONS=die_after_fork=0:halt_on_error=1 build/c-tsan/run-tests

stress: $(VENV)/.needs $(VENV)/.test ## Every kind of hook does what it should not 10,000 times, under the sanitizers: memory stays flat
	@$(BUILD_SANITIZED)
	@HOOKGRAD_ROUNDS=10000 $(SANITIZED) $(VENV)/bin/pytest -q $(WORKERS) --dist worksteal tests/test_hook_actions.py

memory: $(VENV)/.built $(VENV)/.test ## Run each example 10,000 times in one process: memory stays flat; graphs of a million nodes
	@HOOKGRAD_ITERATIONS=10000 HOOKGRAD_DEEP=1000000 $(VENV)/bin/pytest -v tests/test_memory.py tests/test_robustness.py

import-time: $(VENV)/.built ## Check that importing hookgrad costs less than a fifth of importing NumPy
	@$(PY) -m compileall -q hookgrad
	@$(PY) bench/import_time.py --limit 0.2

$(ORACLE)/.made: pyproject.toml
	@echo "Setting up $(ORACLE) with PyTorch 2.13.0"
	@$(ORACLE_PYTHON) -m venv $(ORACLE)
	@$(ORACLE)/bin/python -m pip --disable-pip-version-check install --quiet "setuptools>=77" "numpy>=1.23" scipy-openblas32 pytest pytest-xdist
	@$(ORACLE)/bin/python -m pip --disable-pip-version-check install --quiet $(TORCH_PIP) torch==2.13.0
	@echo "$(CURDIR)" > "$$($(ORACLE)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/hookgrad.pth"
	@touch $@

$(ORACLE)/.built: $(ORACLE)/.made setup.py $(CORE) $(BINDING) $(HEADERS)
	@$(ORACLE)/bin/python setup.py --quiet build_ext --inplace
	@touch $@

oracle: $(ORACLE)/.built ## Compare every op, and scripts, with PyTorch 2.13
	@$(ORACLE)/bin/pytest $(WORKERS) tests/oracle

bench: $(ORACLE)/.built ## Race hookgrad against PyTorch; prints ratios (BENCH="--quick train" picks)
	@$(ORACLE)/bin/python bench/race.py $(BENCH)

notebooks: $(VENV)/.built $(VENV)/.notebook ## Execute the notebooks from scratch into out/notebooks/
	@$(PY) notebooks/execute.py

wheel: $(VENV)/.needs $(VENV)/.zopfli ## Build the wheel, check its size, run an example from it
	@rm -rf dist build/lib.* build/bdist.* build/wheel
	@$(PY) -m pip --disable-pip-version-check wheel --quiet --no-build-isolation --no-deps --wheel-dir dist .
	@size=$$(stat -c %s dist/*.whl 2>/dev/null || stat -f %z dist/*.whl); echo "$$(basename dist/*.whl): $$size bytes"; \
	    test $$size -le 1350000 || { echo "the wheel is larger than 1.35 MB"; exit 1; }
	@$(PY) -m pip --disable-pip-version-check install --quiet --no-deps --target build/wheel dist/*.whl
	@cd build/wheel && PYTHONPATH=. $(abspath $(PY)) -m hookgrad $(CURDIR)/tests/examples/09_feature_extraction.py \
	    | diff - $(CURDIR)/tests/examples/expected/09_feature_extraction.txt && echo "an example runs from the installed wheel"

versions: ## Run the suite on every other Python that is at hand
	@for v in $(VERSIONS); do \
	    python=; \
	    for p in python$$v $$HOME/.pyenv/versions/$$v.*/bin/python; do \
	        if $$p -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$$v')" >/dev/null 2>&1; then python=$$p; break; fi; \
	    done; \
	    if [ -z "$$python" ]; then echo "Python $$v is not here"; continue; fi; \
	    echo "Python $$v ($$python)"; \
	    $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venv-$$v || exit 1; \
	done

# py_numpy.c is left out of clang-tidy: what NumPy's headers define in it does not pass. One file a run: the analyser of
# va_list confuses the functions of several.
lint: $(VENV)/.built $(VENV)/.lint ## ruff, clang-format and clang-tidy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(PY) tools/stubs.py --check
	@clang-format --dry-run -Werror $(CORE) $(BINDING) $(wildcard csrc/*/*.h tests/c/*.[ch] csrc/examples/*.c)
	@include=$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
	    blas=$$($(PY) -c 'import scipy_openblas32 as b; print(b.get_include_dir())'); \
	    printf '%s\n' $(CORE) $(filter-out csrc/python/py_numpy.c,$(BINDING)) csrc/examples/hooks.c | xargs -P 2 -n 1 sh -c \
	    'clang-tidy --quiet "$$@" -- -std=c11 -D_GNU_SOURCE -DHG_HAVE_CBLAS -Icsrc/include -Icsrc/core -isystem "'$$include'" -isystem "'$$blas'" 2>/dev/null' sh
	@echo "lint: clean"

format: $(VENV)/.lint ## Format the Python and C sources
	@$(VENV)/bin/ruff format .
	@clang-format -i $(CORE) $(BINDING) $(wildcard csrc/*/*.h tests/c/*.[ch] csrc/examples/*.c)

clean: ## Remove everything that was built, the environments included
	rm -rf build dist out .venv .venv-* $(ORACLE) *.egg-info .pytest_cache .ruff_cache
	find hookgrad tests bench notebooks examples -name __pycache__ -prune -exec rm -rf {} +
	rm -f hookgrad/*.so
