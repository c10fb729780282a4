"""The heads of paper 000 against PyTorch, and what a sweep over them must not mix."""

import itertools

import jax
import numpy as np
import optax
import pytest

from benchmarks import fewshot
from evals.probes import draws, heads
from evals.probes.heads import Layer, Recipe

RECIPE = Recipe(hidden=16, steps=60, batch=32, rate=5e-3)
SHOTS, DRAWS = (2, 8), 2


def problem(*, n=80, d=24, classes=5, noise=0.6, seed=0):
    """Features around a mean for each class, of any scale and offset; n images a class."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), n)
    x = rng.normal(size=(classes, d))[y] + noise * rng.normal(size=(len(y), d))
    return (3 + 20 * x).astype(np.float32), y


def drawn(y, shots=SHOTS, number=DRAWS):
    return draws.draw(y, shots, number, 0, [str(label) for label in range(int(y.max()) + 1)])


def sweep(x, y, trains, *, layers=1, seed=0):
    return heads.classify(x, y, x, trains, n_classes=5, layers=layers, seed=seed, recipe=RECIPE)


@pytest.mark.parametrize("layers", [1, 2])
def test_loss_gradient_and_steps_are_those_of_torch(layers):
    torch = pytest.importorskip("torch", reason="parity with PyTorch: tests/requirements.txt")
    rng = np.random.default_rng(0)
    sizes = (24, *[RECIPE.hidden] * (layers - 1), 5)
    linears = [torch.nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
    theirs = torch.nn.Sequential(linears[0], *[torch.nn.ReLU(), *linears[1:]] * (layers - 1))
    their_adam = torch.optim.Adam(theirs.parameters(), RECIPE.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(their_adam, RECIPE.steps)
    ours = tuple(Layer(*arrays) for arrays in weights_and_biases(linears))
    adam = heads.optimiser(RECIPE)
    moments = adam.init(ours)

    @jax.jit
    def step(head, moments, x, y, keep):
        value, gradient = jax.value_and_grad(heads.loss)(head, x, y, keep, drop=RECIPE.drop)
        updates, moments = adam.update(gradient, moments)
        return optax.apply_updates(head, updates), moments, value, gradient

    for _ in range(4):
        x = rng.normal(size=(32, 24)).astype(np.float32)
        y, keep = rng.integers(5, size=32), rng.random((32, 24)) < 0.2
        ours, moments, value, gradient = step(ours, moments, x, y, keep)
        dropped = torch.tensor(x * keep / 0.2, dtype=torch.float32)
        loss = torch.nn.functional.cross_entropy(theirs(dropped), torch.tensor(y))
        their_adam.zero_grad()
        loss.backward()
        their_adam.step()
        schedule.step()
        np.testing.assert_allclose(value, loss.item(), rtol=1e-5)
        slopes = [(linear.weight.grad, linear.bias.grad) for linear in linears]
        for a, b in ((gradient, slopes), (ours, weights_and_biases(linears))):
            jax.tree.map(
                lambda mine, other: np.testing.assert_allclose(mine, other, atol=1e-5),
                [tuple(layer) for layer in a],
                b,
            )


def weights_and_biases(linears):
    return [(m.weight.detach().numpy().copy(), m.bias.detach().numpy().copy()) for m in linears]


def test_initial_weights_are_spread_as_in_torch():
    sizes = (400, 100, 50)
    head = jax.jit(heads.initial, static_argnums=1)(jax.random.key(0), sizes)
    for layer, (n_in, n_out) in zip(head, itertools.pairwise(sizes), strict=True):
        assert (layer.weights.shape, layer.bias.shape) == ((n_out, n_in), (n_out,))
        for values in map(np.asarray, layer):
            assert 0.9 < np.abs(values).max() * n_in**0.5 <= 1
        assert np.std(layer.weights) == pytest.approx((3 * n_in) ** -0.5, rel=0.03)


def test_a_head_does_not_depend_on_what_else_is_in_the_sweep():
    x, y = problem(noise=2)
    few, many = drawn(y)
    found = sweep(x, y, [few, many])
    (alone,) = sweep(x, y, [many[:1]])
    np.testing.assert_array_equal(alone, found[1][:1])
    other = sweep(x, y, [few, many], seed=1)
    assert (other[1] != found[1]).any()


# Two layers differ by the network alone, which other tests look at; compiling takes seconds.
@pytest.mark.parametrize("layers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_each_draw_is_classified_by_what_its_own_rows_taught(layers, monkeypatch):
    monkeypatch.setattr(heads, "ROWS_A_BLOCK", 64)
    x, y = problem(n=40)
    # The second draws' images are the first ones' again, called otherwise.
    both, labels = np.concatenate([x, x]), np.concatenate([y, (y + 1) % 5])
    trains = [np.concatenate([rows[:1], rows[:1] + len(y)]) for rows in drawn(y)]
    found = sweep(both, labels, trains, layers=layers)
    for shots, classes, least in zip(SHOTS, found, (0.7, 0.85), strict=True):
        assert classes.shape == (2, 2 * len(y)), shots
        assert (classes[0] == np.tile(y, 2)).mean() > least
        assert (classes[1] == np.tile((y + 1) % 5, 2)).mean() > least


def test_neither_scale_nor_constant_columns_matter():
    x, y = problem()
    x[:, 3] = 0.1
    trains = drawn(y)
    found = sweep(x, y, trains)
    assert (found[1] == y).mean() > 0.9
    np.testing.assert_array_equal(sweep(64 * x, y, trains), found)
    # What such a column holds elsewhere counts for nothing.
    tested = x.copy()
    tested[:, 3] = 1e4
    again = heads.classify(x, y, tested, trains, n_classes=5, layers=1, seed=0, recipe=RECIPE)
    np.testing.assert_array_equal(again, found)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
def test_accuracies_are_those_of_torch(layers):
    pytest.importorskip("torch", reason="parity with PyTorch: tests/requirements.txt")
    x, y = fewshot.world(np.random.default_rng(0))
    x, y = x[y < 20], y[y < 20]
    trains = drawn(y, (5, 20), 6)
    recipe = Recipe(steps=200)
    ours = heads.classify(x, y, x, trains, n_classes=20, layers=layers, recipe=recipe)
    theirs = fewshot.torch_heads(x, y, trains, layers=layers, recipe=recipe)
    difference = np.subtract(*(fewshot.accuracy(found, y, trains) for found in (ours, theirs)))
    assert np.abs(difference).max() < 0.005
