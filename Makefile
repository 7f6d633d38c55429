# Every recipe installs its own requirements; a new machine needs only make and a Python from 3.11 to
# 3.14. PYTHON=/path/to/python3 chooses one that is not on PATH.
FIND_PYTHON := python=$(if $(PYTHON),'$(PYTHON)',$$(scripts/find-python))
MLFLOW := $(shell sed -n 's/^ *"\(mlflow==[0-9.]*\)",$$/\1/p' pyproject.toml)
BIN := .venv/bin
SERVE_BIN := .venv-serve/bin

.PHONY: install serve test test-fast lint fix types docs docs-build docs-serve compat compat-sqlite compat-postgres clients clients-soak soak endurance bench bench-quick bench-client browser browser-times azurite release

.venv/.installed: pyproject.toml
	@echo 'Installing headrace, MLflow and the tools of developers in .venv (1.3 GB) ...'
	$(FIND_PYTHON) && "$$python" -m venv .venv
	$(BIN)/python -m pip install --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --editable '.[mlflow,oidc]' --group dev
	touch $@

install: .venv/.installed

# headrace and MLflow's page, without the packages that MLflow requires: the page is a part of the
# mlflow package, and headrace reads its files only. pip and setuptools are a fifth of the size.
.venv-serve/.installed: pyproject.toml
	@echo "Installing headrace and MLflow's page in .venv-serve (about 100 MB) ..."
	$(FIND_PYTHON) && "$$python" -m venv .venv-serve
	$(SERVE_BIN)/python -m pip install --no-compile --editable .
	$(SERVE_BIN)/python -m pip install --no-compile --no-deps '$(MLFLOW)'
	$(SERVE_BIN)/python -m pip uninstall --quiet --yes setuptools pip
	touch $@

.venv-serve/.full: .venv-serve/.installed
	@echo 'Installing the packages that MLflow requires in .venv-serve (about 1 GB) ...'
	$(SERVE_BIN)/python -m ensurepip
	$(SERVE_BIN)/python -m pip install --editable '.[mlflow,oidc]'
	touch $@

# Start a server. SERVE takes its options, such as SERVE='--port 5001'. FULL=1 also installs the packages
# that MLflow requires, for the routes that MLflow serves (`headrace routes`).
serve: .venv-serve/$(if $(FULL),.full,.installed)
	$(SERVE_BIN)/headrace server $(SERVE)

# More processes than cores: the tests wait for half of their time, for servers that start or stop.
test: install
	$(BIN)/python -m pytest --numprocesses=4 --dist=loadfile

# Send the same requests to stock MLflow and to headrace and compare the answers, on both databases
# in parallel. COMPAT takes options of pytest, such as COMPAT='-k runs'.
compat: install
	$(MAKE) --jobs=2 compat-sqlite compat-postgres

compat-sqlite: install
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile -m compat --db=sqlite $(COMPAT)

compat-postgres: install
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile -m 'compat and on_database' --db=postgres $(COMPAT)

.venv-mlflow2/.installed:
	$(FIND_PYTHON) && "$$python" -m venv .venv-mlflow2
	.venv-mlflow2/bin/python -m pip install --quiet 'mlflow==2.22.*' 'sqlalchemy<2.1' psycopg2-binary scikit-learn flask-wtf
	touch $@

# The package mlflow also contains the files of mlflow-skinny and mlflow-tracing. Not every package
# index has these two in version 3.18, so 3.17 installs the dependencies and 3.18 replaces its
# files.
.venv-mlflow304/.installed:
	$(FIND_PYTHON) && "$$python" -m venv .venv-mlflow304
	.venv-mlflow304/bin/python -m pip install --quiet 'mlflow==3.4.*' 'sqlalchemy<2.1'
	touch $@

.venv-mlflow310/.installed:
	$(FIND_PYTHON) && "$$python" -m venv .venv-mlflow310
	.venv-mlflow310/bin/python -m pip install --quiet 'mlflow==3.10.*' 'sqlalchemy<2.1' openai
	touch $@

.venv-mlflow318/.installed:
	$(FIND_PYTHON) && "$$python" -m venv .venv-mlflow318
	.venv-mlflow318/bin/python -m pip install --quiet 'mlflow==3.17.2' psycopg2-binary scikit-learn flask-wtf openai
	.venv-mlflow318/bin/python -m pip install --quiet --no-deps 'mlflow==3.18.*'
	touch $@

.venv/.clients: .venv/.installed
	$(BIN)/python -m pip install --quiet --group clients
	touch $@

# Run real trainings with mlflow 2.22, 3.17 and 3.18, and send traces with 3.4, 3.10, 3.17 and
# 3.18, each in an environment of its own.
clients: .venv/.clients .venv-mlflow2/.installed .venv-mlflow304/.installed .venv-mlflow310/.installed .venv-mlflow318/.installed
	$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile -m 'clients and not soak' $(CLIENTS)

# The same clients during outages of 30 s.
clients-soak: install .venv-mlflow2/.installed .venv-mlflow318/.installed
	$(BIN)/python -m pytest -m 'clients and soak' $(CLIENTS)

# The long versions of the fault tests: hundreds of kills, outages of 30 s, an hour of load on each
# database. SOAK takes options of pytest, such as SOAK='-k killed'; SOAK_SECONDS=900 shortens the
# load.
soak: install
	HYPOTHESIS_PROFILE=random $(BIN)/python -m pytest -m 'soak and not clients' $(SOAK)

# Only the hour of load, on both databases at the same time; draws the memory curve in
# docs/endurance.md.
endurance: install
	ENDURANCE=$(CURDIR)/docs/endurance $(BIN)/python -m pytest --numprocesses=2 -m soak -k at_work_does_not_grow
	$(BIN)/python -m tests.faults.memory_curve docs/endurance

.venv/.browser: .venv/.installed
	$(BIN)/python -m pip install --quiet --group browser
	touch $@

# Test the web page in a real browser. Needs Chromium: apt-get install chromium.
browser: .venv/.browser
	@command -v chromium chromium-browser google-chrome >/dev/null || { echo "make $@ needs Chromium: apt-get install chromium"; exit 1; }
	$(BIN)/python -m pytest tests/browser

browser-times: .venv/.browser
	$(BIN)/python -m benchmarks.page

# Install an emulator of Azure's storage, for tests/storage/test_clouds.py. Needs npm.
azurite:
	npm install --no-audit --no-fund --prefix .azurite azurite

# The plugin of schemathesis serves the fuzz tests only.
test-fast: install
	$(BIN)/python -m pytest -p no:schemathesis --numprocesses=2 -m 'not slow' tests/unit tests/repo

lint: install
	$(BIN)/ruff format --check src tests benchmarks docs scripts
	$(BIN)/ruff check src tests benchmarks docs scripts
	$(BIN)/lint-imports
	$(BIN)/python scripts/wording.py

fix: install
	$(BIN)/ruff format src tests benchmarks docs scripts
	$(BIN)/ruff check --fix src tests benchmarks docs scripts

types: install
	$(BIN)/mypy

# Write the generated pages of docs/reference, and the figures of README and docs.
docs: install
	$(BIN)/python -m scripts.reference
	$(BIN)/python -m benchmarks figures

.venv/.docs: .venv/.installed
	$(BIN)/python -m pip install --quiet --group docs
	touch $@

# Build the manual in site/. A link that leads nowhere is an error.
docs-build: .venv/.docs
	$(BIN)/zensical build --clean --strict

# Show the manual at http://localhost:8000, and again after each change of a page.
docs-serve: .venv/.docs
	$(BIN)/zensical serve

# Change the version, commit, tag, and build and check the package in dist/. Publishes nothing.
# RELEASE=--dry-run does it in a clone that is thrown away.
release: install
	$(BIN)/python scripts/release.py $(RELEASE) '$(VERSION)' '$(URL)'

# The versions of the image's packages; of MLflow the release that the tests have.
deploy/constraints.txt: pyproject.toml
	echo '$(MLFLOW)' | $(BIN)/uv pip compile --quiet --universal --python-version 3.12 --no-emit-index-url --no-emit-find-links \
		--no-annotate --no-header --extra mlflow --extra oidc --extra webhooks --output-file $@ pyproject.toml -

.venv/.bench: .venv/.installed
	$(BIN)/python -m pip install --quiet --group bench
	touch $@

# Measure all cases against the peers on both databases; this takes hours. BENCH takes options, such
# as BENCH='--rounds 1'.
bench: .venv/.bench
	$(BIN)/python -m benchmarks run $(BENCH)

# Measure the mlflow client with headrace disabled and enabled, in ten minutes. BENCH takes options,
# such as BENCH='--values 5'.
bench-client: .venv/.bench
	$(BIN)/python -m benchmarks python-api $(BENCH)

# Without BASE: the main cases against the peers, in less than 5 minutes once these are installed.
# With BASE=<git revision>: this tree of headrace against that revision. CASE=<name or NAME*>.
bench-quick: .venv/.bench
	$(BIN)/python -m benchmarks $(if $(BASE),compare --base $(BASE),run --quick) $(if $(CASE),--case '$(CASE)') $(BENCH)
