# Two commands for a fresh machine: `make report` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    := out
AXE    := 4.14.1

SOURCES := $(shell find conformance impls specs reports -name '*.py' -o -name '*.toml' -o -name '*.h' -o -path '*/templates/*' -o -path '*/schema/*')

.PHONY: report test lint types bench soundness power libraries adopters publish gpu gpu-test gpu-check gpu-bench dev clean

report: $(VENV)/.installed
	@mkdir -p $(OUT)
	@$(BIN)/optconform check torch --html $(OUT)/report.html --json $(OUT)/report.json; \
	  status=$$?; test $$status -le 1 || exit $$status
	@echo "The report is $(CURDIR)/$(OUT)/report.html"

test: lint types $(VENV)/.installed build/axe.min.js
	$(BIN)/python -m pytest -n 2 --dist loadscope -q

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy sees the installed package: the folders of the checkout have other names
types: $(VENV)/.installed
	cd $(VENV) && bin/mypy --config-file ../pyproject.toml -p optconform

bench: $(VENV)/.installed
	$(BIN)/python -m pytest benchmarks -q -s --benchmark-only --benchmark-columns=median,ops \
	  --rows build/bench.json

# every library with an adapter, in an environment of its own; tinygrad needs clang
EXTRAS := optax,jax,keras,tensorflow,paddle,mlx,tinygrad,pytorch-optimizer,torch-optimizer,optimi,bitsandbytes

libraries: .venv-libraries/.installed
	@status=0; .venv-libraries/bin/optconform check installed $(RESUME) \
	  --json reports/published/libraries.json --markdown reports/published/libraries.md || status=$$?; \
	  test $$status -le 1 || exit $$status
	.venv-libraries/bin/optconform list defaults --json reports/published/defaults.json | \
	  grep -v ^wrote > reports/published/defaults.txt

# the tests that maintainers of released libraries would write, as CI would run them
adopters: .venv-libraries/.installed
	@for library in pytorch_optimizer optimi optax; do \
	  .venv-libraries/bin/python -m pytest tests/adopters/test_$$library.py -q -n 2 \
	  --hypothesis-profile ci -p no:cacheprovider | tail -1 | sed "s/^/$$library: /"; \
	  done | tee reports/published/adopters.txt

# heavyball wants a newer opt-einsum than paddle does, for what is not judged here
.venv-libraries/.installed: $(VENV)/.installed
	$(PYTHON) -m venv .venv-libraries
	.venv-libraries/bin/pip install -q --disable-pip-version-check -c constraints.txt torch
	.venv-libraries/bin/pip install -q --disable-pip-version-check -c constraints.txt "$$(echo dist/*.whl)[$(EXTRAS)]" pytest pytest-xdist
	.venv-libraries/bin/pip install -q --disable-pip-version-check --no-deps -c constraints.txt heavyball
	.venv-libraries/bin/pip install -q --disable-pip-version-check --no-deps --force-reinstall dist/*.whl
	@touch $@

# what README points to: the committed results of the last run of each
publish: $(VENV)/.installed
	-$(BIN)/optconform check torch --json reports/published/torch.json --markdown reports/published/torch.md
	$(MAKE) -s soundness > reports/published/soundness.txt
	$(MAKE) -s bench | grep -E "element-steps/s|times the bare|times torch's" > reports/published/bench.txt
	$(BIN)/python benchmarks/plot.py build/bench.json reports/published/bench.svg

# faithful code under a long campaign: not one alarm in more than a hundred million element-checks
ODD := Remembering WideNames Master Master64 Compensated CorrectedMoments RunningPowers Flattened \
  InNumpy Stochastic

soundness: $(VENV)/.installed
	$(BIN)/optconform check reference $(ODD:%=tests/subjects/odd.py:%) --examples 500 --seed 1 2>/dev/null

# what the judge misses of all small faults, and how wrong a hyperparameter must be to be noticed
power: $(VENV)/.installed
	$(BIN)/optconform mutants --json reports/published/mutants.json --markdown reports/published/mutants.md
	$(BIN)/optconform detectability --json reports/published/detectability.json --markdown reports/published/detectability.md
	$(BIN)/python tests/power/bugs.py reports/published/bugs
	$(BIN)/python tests/power/dialects.py reports/published/dialects

# on a machine with a GPU: PYTHON has optconform[cuda], a CUDA build of torch and pytest-xdist
gpu: gpu-test gpu-check gpu-bench

gpu-test:
	$(PYTHON) -m pytest -m gpu tests/test_cuda_gpu.py -q -n 8

# our classes, and the paths of torch's that run there
gpu-check:
	@mkdir -p reports/published/gpu
	@status=0; $(PYTHON) -c "from optconform.cli import main; main()" check cuda \
	  --json reports/published/gpu/conformance.json \
	  --markdown reports/published/gpu/conformance.md || status=$$?; \
	  test $$status -le 1 || exit $$status

gpu-bench:
	@mkdir -p reports/published/gpu
	@status=0; $(PYTHON) -m pytest -m gpu benchmarks/test_cuda_gpu.py -q -s \
	  --rows reports/published/gpu/bench.json > reports/published/gpu/bench.txt || status=$$?; \
	  cat reports/published/gpu/bench.txt; exit $$status
	$(PYTHON) benchmarks/plot.py reports/published/gpu/bench.json reports/published/gpu/bench.svg

# an editable installation, for work on optconform itself
dev: $(VENV)/.ready
	$(BIN)/pip install -q --no-deps -e .
	@rm -f $(VENV)/.installed

$(VENV)/.ready: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt torch
	@mkdir -p build
	@$(PYTHON) -c "import tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	  print('\n'.join(p['dependencies'] + p['optional-dependencies']['dev']))" > build/requirements.txt
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -r build/requirements.txt
	@touch $@

# what looks for barriers in the report; its tests are skipped where npm cannot bring it
build/axe.min.js:
	@mkdir -p build
	@cd build && npm pack --silent axe-core@$(AXE) >/dev/null && \
	  tar xzf axe-core-$(AXE).tgz --strip-components=1 package/axe.min.js && \
	  rm axe-core-$(AXE).tgz && touch axe.min.js || echo "axe-core is not there: npm did not bring it"

$(VENV)/.installed: $(VENV)/.ready $(SOURCES)
	@rm -rf build/lib build/bdist.* dist *.egg-info
	@mkdir -p build
	$(BIN)/python -m build --wheel -q 2>build/wheel.log || { cat build/wheel.log; exit 1; }
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --force-reinstall dist/*.whl
	@touch $@

clean:
	rm -rf $(VENV) .venv-libraries build dist $(OUT) *.egg-info .mypy_cache .ruff_cache .pytest_cache
