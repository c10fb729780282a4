# One command each, on a fresh machine too: they make their own virtual environment in .venv.
PYTHON ?= python3
DATA ?= data
WORKDIR ?= runs
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo things ablations test slow clean

demo: .venv/installed
	.venv/bin/python main.py --config=configs/demo.py --workdir=$(WORKDIR)/demo

things: .venv/installed
	.venv/bin/python main.py --config=configs/things.py --config.data_dir=$(DATA) --workdir=$(WORKDIR)/things

ablations: .venv/installed
	.venv/bin/python main.py --config=configs/ablations.py --workdir=$(WORKDIR)/ablations

test: .venv/tests-installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/python -m pytest -n 2 --dist=loadfile --no-loadscope-reorder

slow: .venv/tests-installed
	.venv/bin/python -m pytest -m slow

# Made anew whenever the requirements changed; the file says that the install went through.
.venv/installed: requirements.txt
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(PIP) -r requirements.txt
	touch $@

.venv/tests-installed: .venv/installed tests/requirements.txt tests/requirements-no-deps.txt tests/requirements-maps.txt
	$(PIP) -r tests/requirements.txt
	-$(PIP) -r tests/requirements-maps.txt
	$(PIP) --no-deps -r tests/requirements-no-deps.txt
	touch $@

clean:
	rm -rf .venv $(WORKDIR)
