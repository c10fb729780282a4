"""A small world for the tests of the evals: twelve objects and all triplets of them."""

import itertools

import numpy as np

IDS = np.array([f"object{i:02d}" for i in range(12)])
X = np.random.default_rng(0).normal(size=(12, 5))
TRIPLETS = np.array(list(itertools.combinations(range(12), 3)))


def human_matrix():
    noise = np.random.default_rng(1).normal(size=(12, 12))
    return np.corrcoef(X) + 0.3 * (noise + noise.T) * (1 - np.eye(12))
