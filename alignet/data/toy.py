"""A toy world with known truth: drawn images, a tree of categories, and simulated people.

An image shows one shape on a background. The shape alone carries a three-level tree: four
superordinate families, three basic categories in each, four leaves in each of those. Colour,
texture and background say little about it. People judge objects by a non-negative concept
embedding that is mostly about the tree, and their choices have a known noise; so every number
that the chain reports on this world can be checked against the truth.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from alignet.data.human import odd_last
from alignet.data.images import Images, save_images
from alignet.errors import InputError
from alignet.runtime.files import atomic_path, write_npz

# Family -> its basic categories, each with the parameter of its outline.
FAMILIES = {
    "flower": {"trefoil": 3, "quatrefoil": 4, "daisy": 7},  # petals
    "arc": {"ring": 0.0, "horseshoe": 0.8, "crescent": 1.8},  # half-angle of the opening, radians
    "solid": {"triangle": (3, 0.0), "box": (4, math.pi / 4), "diamond": (4, 0.0)},  # corners, turn
    "cross": {"wye": 3, "plus": 4, "asterisk": 6},  # arms
}
# A basic category's leaves differ in one parameter, from slender to stout: petal depth, half-width
# of the arc, breadth of the solid, half-width of the arms; in units of the shape's radius.
SLENDER = {
    "flower": (0.55, 0.46, 0.37, 0.28),
    "arc": (0.11, 0.17, 0.23, 0.29),
    "solid": (0.50, 0.66, 0.83, 1.00),
    "cross": (0.11, 0.16, 0.21, 0.26),
}
BASICS = [basic for family in FAMILIES.values() for basic in family]
LEAVES = [f"{basic}-{letter}" for basic in BASICS for letter in "abcd"]

COLOURS = np.array(  # the first half are warm
    [
        (0.90, 0.20, 0.18), (0.95, 0.55, 0.12), (0.95, 0.85, 0.25),
        (0.95, 0.60, 0.72), (0.60, 0.32, 0.15), (0.80, 0.15, 0.50),
        (0.25, 0.65, 0.30), (0.20, 0.75, 0.80), (0.25, 0.40, 0.90),
        (0.60, 0.40, 0.85), (0.70, 0.92, 0.55), (0.82, 0.85, 0.90),
    ],
    np.float32,
)  # fmt: skip
TEXTURES = ("plain", "rows", "columns", "checks", "dots", "speckle", "slopes", "fade")
BACKGROUNDS = ("meadow", "dusk", "planks", "paper", "lawn", "night", "curtain", "concrete")
BACKGROUND_COLOURS = np.array(  # the two that a background blends
    [
        ((0.75, 0.85, 0.95), (0.35, 0.55, 0.35)), ((0.05, 0.08, 0.25), (0.30, 0.20, 0.35)),
        ((0.55, 0.45, 0.35), (0.38, 0.30, 0.22)), ((0.92, 0.90, 0.85), (0.92, 0.90, 0.85)),
        ((0.20, 0.35, 0.18), (0.38, 0.52, 0.25)), ((0.10, 0.12, 0.16), (0.10, 0.12, 0.16)),
        ((0.45, 0.20, 0.22), (0.32, 0.12, 0.15)), ((0.45, 0.45, 0.48), (0.62, 0.62, 0.65)),
    ],
    np.float32,
)  # fmt: skip

# How often a family shows its usual colours, texture or background rather than any: things have
# their habits, which is all that a student blind to shapes can learn of the tree.
HABIT = 0.4
# Weight of each kind of concept. A pair's similarity is the sum of the squares of the shared ones,
# and the choice temperature is 1, so the weights set the noise: a ceiling of about 0.72.
CONCEPTS = {"superordinate": 1.35, "basic": 1.2, "slender": 0.9, "animacy": 0.9, "warm": 0.5}


class Factors(NamedTuple):
    """What each image shows: integers [n] that count in `LEAVES`, `COLOURS` and so on."""

    leaf: np.ndarray
    colour: np.ndarray
    texture: np.ndarray
    background: np.ndarray

    def labels(self) -> dict[str, np.ndarray]:
        """Every factor by name, the other levels of the tree and the leaf's parameter included."""
        return {
            "superordinate": self.leaf // (len(LEAVES) // len(FAMILIES)),
            "basic": self.leaf // (len(LEAVES) // len(BASICS)),
            "slender": self.leaf % 4,
            **self._asdict(),
        }


def heldout_leaves(share: float, rng: np.random.Generator) -> Bool[np.ndarray, "48"]:
    """Picks the categories that no fitting step may see, spread evenly over the tree.

    Every basic category loses one leaf before any loses its second.

    Args:
      share: of the 48 leaves, between 0 and 0.75; each basic category keeps a leaf to learn from.
      rng: source of randomness.

    Returns:
      True for a held-out leaf.

    Raises:
      InputError: the share is out of range.
    """
    if not 0 <= share <= 0.75:
        raise InputError(f"heldout_share is {share}; expected a number between 0 and 0.75.")
    rank = rng.permuted(np.tile(np.arange(4), (len(BASICS), 1)), axis=1).ravel()
    order = np.lexsort((rng.random(len(LEAVES)), rank))
    heldout = np.zeros(len(LEAVES), bool)
    heldout[order[: round(share * len(LEAVES))]] = True
    return heldout


def draw_factors(leaf: Int[np.ndarray, "n"], rng: np.random.Generator) -> Factors:
    """Draws colour, texture and background for images of given leaves; see `HABIT`."""
    n, families = len(leaf), len(FAMILIES)
    family = leaf // (len(LEAVES) // families)
    others = []
    for values in (COLOURS, TEXTURES, BACKGROUNDS):
        usual = family + families * rng.integers(len(values) // families, size=n)
        anything = rng.integers(len(values), size=n)
        others.append(np.where(rng.random(n) < HABIT, usual, anything))
    return Factors(leaf, *others)


def draw(
    factors: Factors, rng: np.random.Generator, *, image_size: int
) -> UInt8[np.ndarray, "n h w 3"]:
    """Draws images with anti-aliased edges; pose, shade and noise vary from image to image.

    Args:
      factors: what each image shows.
      rng: source of randomness.
      image_size: height and width in pixels.

    Returns:
      RGB images.
    """
    pixels = np.empty((len(factors.leaf), image_size, image_size, 3), np.uint8)
    for start in range(0, len(pixels), 256):  # a block's arrays stay in the cache
        block = slice(start, start + 256)
        pixels[block] = _draw(Factors(*(values[block] for values in factors)), rng, image_size)
    return pixels


def _draw(factors: Factors, rng: np.random.Generator, size: int) -> np.ndarray:
    def vary(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (len(factors.leaf), 1, 1)).astype(np.float32)

    # Image coordinates (u, v) run from -1 to 1; in the shape's own (x, y) its radius is 1.
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    v, u = np.meshgrid(axis, axis, indexing="ij")
    radius, angle = vary(0.70, 0.82), vary(-0.2, 0.2)
    du, dv = (u - vary(-0.08, 0.08)) / radius, (v - vary(-0.08, 0.08)) / radius
    x, y = np.cos(angle) * du + np.sin(angle) * dv, np.cos(angle) * dv - np.sin(angle) * du
    pixel = 2 / size / radius
    inside = np.clip(0.5 - _signed_distance(factors.leaf, x, y) / pixel, 0, 1)[..., None]

    noise = rng.standard_normal(x.shape, dtype=np.float32)
    weave = u + vary(-0.04, 0.04), v + vary(-0.04, 0.04)
    light = 0.5 + 0.5 * _texture(factors.texture, *weave, noise)
    ink = COLOURS[factors.colour][:, None, None] * (vary(0.85, 1.05) * light)[..., None]
    first, second = BACKGROUND_COLOURS[factors.background].swapaxes(0, 1)[:, :, None, None]
    blend = _blend(factors.background, u - vary(-0.3, 0.3), v - vary(-0.3, 0.3), noise)[..., None]
    ground = first + blend * (second - first)
    rgb = ground + inside * (ink - ground) + 0.02 * noise[:, ::-1, :, None]
    return np.rint(255 * np.clip(rgb, 0, 1)).astype(np.uint8)


def _signed_distance(leaf: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to the outline, negative inside, to first order near the outline."""
    distance = np.empty_like(x)
    basics = [(f, parameter) for f, basics in FAMILIES.items() for parameter in basics.values()]
    for basic, (family, parameter) in enumerate(basics):
        rows = np.flatnonzero(leaf // 4 == basic)
        slender = np.array(SLENDER[family], np.float32)[leaf[rows] % 4][:, None, None]
        distance[rows] = _SHAPES[family](x[rows], y[rows], parameter, slender)
    return distance


def _flower(x: np.ndarray, y: np.ndarray, petals: int, depth: np.ndarray) -> np.ndarray:
    r, theta = np.hypot(x, y), np.arctan2(x, -y)
    outline = (1 + depth * np.cos(petals * theta)) / (1 + depth)
    slope = petals * depth * np.sin(petals * theta) / (1 + depth)
    # The radial gap over the implicit function's steepness; the floor keeps the centre finite.
    blossom = (r - outline) / np.sqrt(1 + (slope / np.maximum(outline, 0.3)) ** 2)
    return np.maximum(blossom, 0.22 - r)  # a hole for the heart


def _arc(x: np.ndarray, y: np.ndarray, opening: float, half_width: np.ndarray) -> np.ndarray:
    r = np.hypot(x, y)
    ring = np.abs(r - 1 + half_width) - half_width
    if not opening:
        return ring
    from_edge = np.clip(opening - np.abs(np.arctan2(y, x)), -np.pi / 2, np.pi / 2)
    return np.maximum(ring, r * np.sin(from_edge))


def _solid(x: np.ndarray, y: np.ndarray, form: tuple, breadth: np.ndarray) -> np.ndarray:
    corners, turn = form
    edges = []
    for edge in range(corners):
        direction = turn + (2 * edge + 1) * math.pi / corners
        nx, ny = math.sin(direction) / breadth, -math.cos(direction)
        # Squeezing x makes an edge's function steeper; dividing restores the distance.
        edges.append((nx * x + ny * y - math.cos(math.pi / corners)) / np.hypot(nx, ny))
    return np.maximum.reduce(edges)


def _cross(x: np.ndarray, y: np.ndarray, arms: int, half_width: np.ndarray) -> np.ndarray:
    bars = []
    for arm in range(arms):
        sin, cos = math.sin(2 * math.pi * arm / arms), math.cos(2 * math.pi * arm / arms)
        along, across = sin * x - cos * y, np.abs(cos * x + sin * y)
        bars.append(np.maximum(across - half_width, np.maximum(along - 1, -along)))
    return np.minimum.reduce(bars)


_SHAPES = {"flower": _flower, "arc": _arc, "solid": _solid, "cross": _cross}


def _texture(texture: np.ndarray, u: np.ndarray, v: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Where the ink is light (1) and where it is dark (0), [n, h, w]."""
    rows, columns = np.sin(13 * v), np.sin(13 * u)
    patterns = {
        "plain": np.ones_like(noise), "rows": rows, "columns": columns,
        "checks": 2 * rows * columns, "dots": rows + columns - 0.6, "speckle": noise,
        "slopes": np.sin(9 * (u + v)), "fade": 0.5 * v,
    }  # fmt: skip
    masks = [texture[:, None, None] == index for index in range(len(TEXTURES))]
    return np.clip(0.5 + 2 * np.select(masks, [patterns[name] for name in TEXTURES]), 0, 1)


def _blend(background: np.ndarray, u: np.ndarray, v: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The share of the background's second colour, [n, h, w]."""
    stains = sum(np.roll(noise, shift, axis=1) for shift in range(-2, 3))
    stains = sum(np.roll(stains, shift, axis=2) for shift in range(-2, 3))
    patterns = {
        "meadow": 0.5 + 8 * (v - 0.2), "dusk": np.exp(-2 * (u**2 + v**2)),
        "planks": 0.5 + 3 * np.sin(8 * v), "curtain": 0.5 + 3 * np.sin(8 * u),
        "lawn": 0.5 + 0.15 * stains, "concrete": 0.5 + 0.15 * stains,
        "paper": np.zeros_like(noise), "night": np.zeros_like(noise),
    }  # fmt: skip
    masks = [background[:, None, None] == index for index in range(len(BACKGROUNDS))]
    return np.clip(np.select(masks, [patterns[name] for name in BACKGROUNDS]), 0, 1)


def concept_embedding(factors: Factors, rng: np.random.Generator) -> Float[np.ndarray, "n d"]:
    """What people know of each object: the non-negative embedding Y* behind their choices.

    Dimensions: four superordinates, twelve basic categories, slender and stout (they tell a basic
    category's leaves apart), natural and artificial, warm-coloured. Objects are more or less
    typical: each weight varies by up to a tenth.

    Args:
      factors: what the objects' images show.
      rng: source of randomness, for the typicality.

    Returns:
      float64 [n, 21], at least 0.
    """
    labels = factors.labels()
    stout = labels["slender"] / 3
    natural = labels["superordinate"] < 2
    parts = {
        "superordinate": np.eye(len(FAMILIES))[labels["superordinate"]],
        "basic": np.eye(len(BASICS))[labels["basic"]],
        "slender": np.column_stack([1 - stout, stout]),
        "animacy": np.column_stack([natural, ~natural]),
        "warm": factors.colour[:, None] < len(COLOURS) // 2,
    }
    concepts = np.hstack([CONCEPTS[name] * part for name, part in parts.items()])
    return concepts * rng.uniform(0.9, 1.1, concepts.shape)


def choice_probabilities(
    concepts: Float[np.ndarray, "n d"], triplets: Int[np.ndarray, "m 3"]
) -> Float[np.ndarray, "m 3"]:
    """How likely people are to keep each pair (ij, ik, jk) together: softmax of dot products."""
    a, b, c = concepts[triplets.T]
    s = np.stack([(a * b).sum(1), (a * c).sum(1), (b * c).sum(1)], axis=1)
    p = np.exp(s - s.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def ask(
    concepts: Float[np.ndarray, "n d"], triplets: Int[np.ndarray, "m 3"], rng: np.random.Generator
) -> Int[np.ndarray, "m 3"]:
    """Lets simulated people answer: each triplet in an order that has the odd one out last."""
    cumulative = np.cumsum(choice_probabilities(concepts, triplets), axis=1)
    pair = (rng.random((len(triplets), 1)) >= cumulative[:, :2]).sum(axis=1)
    return odd_last(triplets, pair)


def noise_ceiling(concepts: Float[np.ndarray, "n d"]) -> float:
    """The best accuracy on people's choices: the exact mean of max p over all triplets.

    Args:
      concepts: the true embedding of the objects that triplets are made of.
    """
    n, similarity = len(concepts), concepts @ concepts.T
    total = 0.0
    for i in range(n - 2):
        j, k = np.add(np.triu_indices(n - i - 1, 1), i + 1)
        s = np.stack([similarity[i, j], similarity[i, k], similarity[j, k]])
        total += (1 / np.exp(s - s.max(axis=0)).sum(axis=0)).sum()
    return float(total / math.comb(n, 3))


def distinct_triplets(
    objects: Int[np.ndarray, "k"], n: int, rng: np.random.Generator
) -> Int[np.ndarray, "n 3"]:
    """Draws n different sets of three objects, uniformly."""
    if n > math.comb(len(objects), 3):
        raise InputError(
            f"{n} different triplets of {len(objects)} objects do not exist; "
            "expected more objects (n_things) or fewer triplets (n_triplets, n_test)."
        )
    # A number below C(k, 3) is C(c, 3) + C(b, 2) + a for exactly one a < b < c.
    grid = np.arange(len(objects))
    threes, twos = grid * (grid - 1) * (grid - 2) // 6, grid * (grid - 1) // 2
    code = rng.choice(math.comb(len(objects), 3), n, replace=False)
    c = np.searchsorted(threes, code, side="right") - 1
    code = code - threes[c]
    b = np.searchsorted(twos, code, side="right") - 1
    return objects[rng.permuted(np.column_stack([code - twos[b], b, c]), axis=1)]


def pretraining_set(
    config: Any, n: int
) -> tuple[UInt8[np.ndarray, "n h w 3"], dict[str, np.ndarray]]:
    """Draws labelled images of the training categories, as networks are pretrained on.

    Args:
      config: the world's config; see `make_world`.
      n: number of images.

    Returns:
      The images, and the integer labels [n] of every factor.
    """
    rng = np.random.default_rng([config.seed, 4])
    heldout = heldout_leaves(config.heldout_share, np.random.default_rng([config.seed, 0]))
    factors = draw_factors(rng.choice(np.flatnonzero(~heldout), n), rng)
    return draw(factors, rng, image_size=config.image_size), factors.labels()


def make_world(config: Any, workdir: str | Path) -> Path:
    """Draws the world, asks its people, and writes what they left as a data folder.

    `things/` has the objects' images, people's choices between objects of the training categories
    (triplets.txt to fit to, test_triplets.txt to score on: no triplet is in both) and choices
    between objects of held-out categories only (heldout_triplets.txt). `pool/` has further images
    of the training categories. truth.npz has what nobody gets to see. Each file is written
    atomically; equal configs give equal bytes.

    Args:
      config: seed; image_size in pixels; n_things objects; n_pool images; n_triplets choices to
        fit to; n_test choices to score on, of either kind; heldout_share of the categories.
      workdir: where `world/` will be.

    Returns:
      The data folder, `workdir/world`.
    """
    world = Path(workdir) / "world"
    # One stream a part, so that a larger pool leaves the objects as they are.
    tree, things, pool, people = (np.random.default_rng([config.seed, part]) for part in range(4))
    heldout_leaf = heldout_leaves(config.heldout_share, tree)

    factors = draw_factors(things.permutation(np.arange(config.n_things) % len(LEAVES)), things)
    concepts = concept_embedding(factors, things)
    pixels = draw(factors, things, image_size=config.image_size)
    save_images(world / "things" / "images.npz", Images(_names(factors.leaf), pixels))
    heldout = heldout_leaf[factors.leaf]

    seen, unseen = np.flatnonzero(~heldout), np.flatnonzero(heldout)
    triplets = ask(
        concepts, distinct_triplets(seen, config.n_triplets + config.n_test, people), people
    )
    heldout_triplets = ask(concepts, distinct_triplets(unseen, config.n_test, people), people)
    fitted, new = np.split(triplets, [config.n_triplets])
    files = {"triplets": fitted, "test_triplets": new, "heldout_triplets": heldout_triplets}
    for name, rows in files.items():
        with atomic_path(world / "things" / f"{name}.txt") as temporary:
            np.savetxt(temporary, rows, fmt="%d")

    pool_factors = draw_factors(pool.choice(np.flatnonzero(~heldout_leaf), config.n_pool), pool)
    pixels = draw(pool_factors, pool, image_size=config.image_size)
    save_images(world / "pool" / "images.npz", Images(_names(pool_factors.leaf), pixels))

    write_npz(
        world / "truth.npz",
        concept_embedding=concepts,
        heldout=heldout,
        noise_ceiling=noise_ceiling(concepts[seen]),
        noise_ceiling_heldout=noise_ceiling(concepts[unseen]),
        **factors.labels(),
        **{f"pool_{name}": values for name, values in pool_factors.labels().items()},
    )
    return world


def _names(leaf: np.ndarray) -> np.ndarray:
    return np.array([f"{LEAVES[index]}_{row:05d}" for row, index in enumerate(leaf)])
