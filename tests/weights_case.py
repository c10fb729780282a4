"""Small networks with weights of no meaning, and the rows of the table for the golden files."""

import functools

import jax
import numpy as np

from alignet import students
from alignet.students import student as specification
from alignet.students import zoo

TOY = students.Student(variant="mu/8", image_size=16, pool="gap")
MU = zoo.find("mu16").student
# The networks of the golden files.
GOLDEN = {
    "golden-gap": students.Student("golden/8", 32, "gap"),
    "golden-cappa": students.Student("golden-cappa/8", 32, "gap"),
    "golden-tok": students.Student("golden/8", 32, "tok"),
    "golden-tok-rep": students.Student("golden/8", 32, "tok", rep_size=48),
    "golden-map": students.Student("golden/8", 32, "map"),
    "golden-map-56": students.Student("golden/8", 56, "map"),
}
SUBTREES = {"golden-cappa": "encoder", "golden-map": "img", "golden-map-56": "img"}


def add_golden_rows(monkeypatch):
    monkeypatch.setitem(specification.VARIANTS, "golden", (48, 3, 96, 4))
    monkeypatch.setitem(specification.VARIANTS, "golden-cappa", (48, 2, 96, 4))
    for name, student in GOLDEN.items():
        row = zoo.Model(student, 48, "none", "none", SUBTREES.get(name, ""))
        monkeypatch.setitem(zoo.ZOO, name, row)


def random_params(student, seed=0):
    """Parameters none of which is 0 or 1; unlike `students.init`, this compiles nothing."""
    shapes = jax.eval_shape(lambda: students.init(student, jax.random.key(0)))
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        mean = 1 if path[-1].key == "scale" else 0
        return rng.normal(mean, 0.2, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def parameters(arrays):
    """Those of a golden file, by flat name."""
    return {n.removeprefix("params/"): x for n, x in arrays.items() if n.startswith("params/")}


def apply(student, params, images, **compute):
    """What the network gives for preprocessed images; compiled once a network and way to run."""
    with jax.default_matmul_precision("highest"):
        return _apply(student, students.Compute(**compute), params, images)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _apply(student, compute, params, images):
    return students.network(student, compute).apply({"params": params}, images)


def output(embed, images, key="pre_logits"):
    return apply(embed.student, embed.params, images)[key]


def assert_same(params, expected):
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, params, expected)
