"""Torch, made ready for the import of torchvision, which transformers and timm import in turn."""

import pytest

torch = pytest.importorskip("torch", reason="parity with PyTorch: tests/requirements.txt")
try:
    import torchvision  # noqa: F401
except RuntimeError:
    # Its kernels are absent from CPU builds; importing it asks only for these two names.
    OPERATORS = torch.library.Library("torchvision", "DEF")
    OPERATORS.define("nms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    OPERATORS.define("qnms(Tensor boxes, Tensor scores, float threshold) -> Tensor")
except ImportError:
    pass
