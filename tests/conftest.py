"""Test set-up: shapes are checked at run time; real data is used where it is present."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from jaxtyping import install_import_hook

# Every annotated function of the project is checked on every call the tests make.
install_import_hook(["alignet", "evals", "theory"], "beartype.beartype")

import numpy as np  # noqa: E402
import pytest  # noqa: E402

from tests import weights_case  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real human data beside the checkout; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip(f"real data not found at {SHARED}")
    return SHARED


@pytest.fixture
def golden(shared_data, monkeypatch):
    """Reads what big_vision computed: a file's path and arrays; its networks join the table."""
    weights_case.add_golden_rows(monkeypatch)

    def read(name):
        path = shared_data / "big_vision_parity" / f"{name}.npz"
        with np.load(path, allow_pickle=False) as archive:
            return path, dict(archive)

    return read


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """That of the commands which tests start: on the CPU, what one has compiled kept for others."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("jax")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
