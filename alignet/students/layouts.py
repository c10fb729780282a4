"""Layouts of parameters: trees and flat names, scanned and unrolled, old and new, other grids."""

from typing import Any

import jax
import numpy as np

from alignet.students.vit import Params


def flatten(params: Params, prefix: str = "params") -> dict[str, Any]:
    """Names every parameter by its path: {"a": {"b": x}} becomes {"params/a/b": x}."""
    flat = {}
    for name, value in params.items():
        path = f"{prefix}/{name}" if prefix else name
        flat |= flatten(value, path) if isinstance(value, dict) else {path: value}
    return flat


def unflatten(flat: dict[str, Any], prefix: str = "params") -> Params:
    """Undoes `flatten`."""
    params: Params = {}
    for path, value in flat.items():
        *parents, name = path.removeprefix(f"{prefix}/").split("/")
        node = params
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return params


def to_scan(params: Params) -> Params:
    """Stacks the parameters of all blocks, as `Compute(scan=True)` and big_vision's scan want."""
    transformer = dict(params["Transformer"])
    depth = sum(name.startswith("encoderblock_") for name in transformer)
    blocks = [transformer.pop(f"encoderblock_{layer}") for layer in range(depth)]
    transformer["encoderblock"] = jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)
    return params | {"Transformer": transformer}


def to_unrolled(params: Params) -> Params:
    """Undoes `to_scan`."""
    transformer = dict(params["Transformer"])
    blocks = transformer.pop("encoderblock")
    for layer in range(len(jax.tree.leaves(blocks)[0])):
        transformer[f"encoderblock_{layer}"] = jax.tree.map(lambda leaf, i=layer: leaf[i], blocks)
    return params | {"Transformer": transformer}
