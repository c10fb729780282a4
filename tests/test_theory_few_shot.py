"""Students of dialled alignment: real points, and few-shot learning as other libraries do it."""

import numpy as np
import pytest
import sklearn.linear_model
import sklearn.neighbors

from alignet.errors import InputError
from evals.statistics import u_shape
from theory import few_shot, representation, students
from theory.few_shot import PLAIN, RULES, TOLD, TRIES

RNG = np.random.default_rng
NEAREST, RIDGE = RULES


@pytest.fixture(scope="module")
def teacher():
    return students.clustered(RNG(0), classes=5, objects=12, d=6)


def made(teacher, kind, dial):
    if kind == "mixed":
        return students.mixed(teacher, dial, RNG(1))
    return getattr(students, kind)(teacher, dial)


def points_of(student):
    """Real points with the student's similarities as dot products."""
    values, vectors = np.linalg.eigh(students.gram(student))
    assert values.min() > -1e-9 * values.max()
    return vectors * np.sqrt(values.clip(0))


@pytest.mark.parametrize("kind", ["mixed", "turned", "squeezed"])
@pytest.mark.parametrize("dial", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_every_student_is_made_of_real_points(teacher, kind, dial):
    student = made(teacher, kind, dial)
    z = points_of(student)
    np.testing.assert_allclose(z @ z.T, students.gram(student), atol=1e-9)
    # The least shift: without it, or with less, some student were no set of points.
    if student.shift:
        assert np.linalg.eigvalsh(students.gram(student)).min() == pytest.approx(0, abs=1e-9)
    by_points = 1 - representation.misalignment(teacher.points, z)
    # Where many distances differ by the last digit only, a root may turn one of them round.
    assert students.alignment(teacher, student) == pytest.approx(by_points, abs=1e-3)


def test_the_dial_goes_from_the_teacher_to_its_opposite(teacher):
    for kind in ("mixed", "turned"):
        ends = [students.alignment(teacher, made(teacher, kind, dial)) for dial in (0.0, 1.0)]
        assert ends == [1, 0]
    half = [students.alignment(teacher, students.mixed(teacher, 0.5, RNG(s))) for s in range(20)]
    assert np.mean(half) == pytest.approx(0.5, abs=0.02)
    along = [students.alignment(teacher, made(teacher, "mixed", d)) for d in np.linspace(0, 1, 9)]
    assert (np.diff(along) < 0).all()
    assert 0.5 < students.alignment(teacher, made(teacher, "squeezed", 1.0)) < 0.95


@pytest.mark.parametrize("dial", [0.1, 0.7])
def test_scores_are_those_of_other_libraries(teacher, dial):
    student = made(teacher, "mixed", dial)
    z, labels = points_of(student), teacher.labels
    examples = np.concatenate([np.flatnonzero(labels == c)[:4] for c in range(5)])
    y = labels[examples]
    similarities = students.gram(student)

    scores = few_shot.centroid_scores(similarities, examples, y)
    nearest = sklearn.neighbors.NearestCentroid().fit(z[examples], y)
    np.testing.assert_array_equal(scores.argmax(axis=1), nearest.predict(z))

    scores = few_shot.ridge_scores(similarities, examples, y)
    among = similarities[np.ix_(examples, examples)]
    penalty = few_shot.REGULARISER * np.trace(among) / len(among)
    targets = np.eye(5)[y] - np.eye(5)[y].mean(axis=0)
    ridge = sklearn.linear_model.Ridge(penalty, fit_intercept=False).fit(z[examples], targets)
    np.testing.assert_allclose(scores, ridge.predict(z), atol=1e-8)


def learnt(teacher, kind, dial):
    return few_shot.learn(teacher, made(teacher, kind, dial), shots=4, times=12, seed=0)


def test_the_opposite_of_the_teacher_is_as_good_if_one_knows_it(teacher):
    aligned, reversed_ = learnt(teacher, "mixed", 0.0), learnt(teacher, "mixed", 1.0)
    assert (aligned.alignment, reversed_.alignment) == (1, 0)
    assert aligned.accuracy[NEAREST, PLAIN].value > 0.8
    assert reversed_.accuracy[NEAREST, TOLD] == aligned.accuracy[NEAREST, TOLD]
    assert reversed_.accuracy[NEAREST, TRIES] == aligned.accuracy[NEAREST, TRIES]
    assert reversed_.accuracy[RIDGE, TOLD].value > 0.6
    # Taken as it is, it is worse than a guess of one in five.
    for rule in RULES:
        assert reversed_.accuracy[rule, PLAIN].high < 0.2


def test_between_there_is_nothing_to_be_learnt(teacher):
    found = [
        few_shot.learn(teacher, students.mixed(teacher, 0.5, RNG(s)), shots=4, times=4, seed=0)
        for s in range(20)
    ]
    for kind in found[0].accuracy:
        mean = np.mean([one.accuracy[kind].value for one in found])
        assert mean == pytest.approx(0.2, abs=0.04)


def test_the_u_is_there_for_who_knows_and_not_for_who_does_not(teacher):
    found = [learnt(teacher, "mixed", dial) for dial in np.linspace(0, 1, 25)]
    x = np.array([one.alignment for one in found])
    shapes = {
        learner: u_shape.two_lines(
            x, np.array([one.accuracy[NEAREST, learner].value for one in found])
        ).shape
        for learner in (PLAIN, TOLD, TRIES)
    }
    assert shapes == {PLAIN: u_shape.NEITHER, TOLD: u_shape.U, TRIES: u_shape.U}


def test_squeezing_costs_the_nearest_mean_and_not_ridge_regression(teacher):
    before, after = learnt(teacher, "squeezed", 0.0), learnt(teacher, "squeezed", 1.0)
    lost = {
        rule: before.accuracy[rule, PLAIN].value - after.accuracy[rule, PLAIN].value
        for rule in RULES
    }
    assert lost[NEAREST] > 0.1 > abs(lost[RIDGE])


def test_constant_scores_are_wrong_everywhere(teacher):
    scores = np.zeros((len(teacher.labels), 5))
    assert not few_shot._right(scores, teacher.labels).any()


def test_a_real_embedding_teaches_its_clusters(shared_data):
    x = np.load(shared_data / "things" / "vice_embedding.npy", allow_pickle=False)[:400]
    found = students.from_embedding(x.astype(np.float64), classes=8)
    assert np.bincount(found.labels).min() >= students.LEAST_OBJECTS
    assert (found.points**2).sum(axis=1).mean() == pytest.approx(1)
    accuracy = few_shot.learn(found, students.turned(found, 0.0), shots=4, times=3, seed=0).accuracy
    assert accuracy[NEAREST, PLAIN].low > 1.5 / len(np.bincount(found.labels))


POINTS = RNG(2).normal(size=(40, 3))


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda t: students.clustered(RNG(0), classes=1), "classes is 1; expected at least 2."),
        (lambda t: students.clustered(RNG(0), d=0), "d is 0; expected at least 1."),
        (lambda t: students.mixed(t, 1.5, RNG(0)), "dial is 1.5; expected a probability"),
        (lambda t: students.turned(t, -0.5), "dial is -0.5; expected a probability"),
        (lambda t: students.from_embedding(POINTS[:, :0]), "expected at least 3 points"),
        (
            lambda t: students.from_embedding(POINTS[[0, 1, 1]]),
            "rows 1 and 2 (from 0) are the same",
        ),
        (lambda t: students.from_embedding(POINTS, name="x.npy"), "x.npy: of 40 objects in 20"),
        (lambda t: learn_shots(t, 1), "shots is 1; expected at least 2."),
        (lambda t: learn_shots(t, 12), "has 12 images; 12 shots need 13"),
    ],
)
def test_bad_input_is_said_in_one_sentence(teacher, call, said):
    with pytest.raises(InputError) as caught:
        call(teacher)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def learn_shots(teacher, shots):
    return few_shot.learn(teacher, made(teacher, "mixed", 0.2), shots=shots, times=2, seed=0)
