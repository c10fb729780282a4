"""The report's section on ImageNet's variants; see `evals.ood` for what is in the answers."""

from collections.abc import Mapping

from alignet.data.imagenet_facts import ALEXNET_ERRORS, MASKS, WNIDS
from evals.answers import PEOPLE, Answers
from evals.pages import ood_figures, page, summary_figures
from evals.statistics.intervals import Measured

ACCURACY, MCE = "accuracy", "mCE"
IMAGENET, REAL, IMAGENET_C = "imagenet", "imagenet_real", "imagenet_c"
TITLES = {
    IMAGENET: "ImageNet",
    REAL: "ReaL",
    "imagenet_v2": "ImageNet-V2",
    "imagenet_a": "ImageNet-A",
    "imagenet_r": "ImageNet-R",
    "imagenet_sketch": "Sketch",
    IMAGENET_C: "ImageNet-C",
}
TITLE = "Does it still recognise things that look different from what it learned?"
TEXT = (
    "A simple classifier learns, from a model's view of ImageNet's training photographs, to name "
    "which of 1,000 kinds of thing a photograph shows; the model itself learns nothing more. It is "
    "then tried on others. ImageNet: photographs of the same sort. ReaL: the same, where all that "
    "people see in them counts as right. V2: taken anew, years later. A: chosen because networks "
    "fail on them. R: paintings, toys, tattoos and other renditions. Sketch: drawings. C: made "
    "noisy, blurred, foggy and so on. A and R show 200 of the kinds, and the classifier chooses "
    "among these only."
)
PICTURE = (
    "Share of photographs whose kind is named, with 95 % intervals; the number of photographs in "
    "brackets. Orange: the best; dashed: guessing."
)
TABLE = "Share of photographs whose kind is named."
RELATIVE = (
    " mCE: errors on ImageNet-C in proportion to AlexNet's, the mean over the corruptions; 1 is as "
    "many as AlexNet's, and less is better."
)
CORRUPTIONS = (
    "Photographs whose kind is named in spite of each corruption, in percent, on average over its "
    "five degrees."
)


def titles(answers: Mapping[str, Answers]) -> dict[str, str]:
    """What the sets are called that any model was tried on, by subset; single corruptions aside."""
    found = [
        score.subset
        for answers_of_one in answers.values()
        for score in answers_of_one.scores
        if score.metric == ACCURACY and "/" not in score.subset
    ]
    order = [*(subset for subset in TITLES if subset in found), *found]
    return {
        subset: TITLES.get(subset) or subset.replace(IMAGENET_C, TITLES[IMAGENET_C])
        for subset in order
    }


def chance(subset: str) -> float:
    """How often guessing names the kind."""
    return 1 / len(MASKS.get(subset, WNIDS))


def section(answers: Mapping[str, Answers]) -> page.Section:
    """Draws up the section of all models."""
    models = {name: found for name, found in answers.items() if name != PEOPLE}
    by_set = {title: _scores(models, subset) for subset, title in titles(answers).items()}
    dots, chances, rows = {}, {}, {name: {"model": name} for name in models}
    for subset, title in titles(answers).items():
        panel = f"{title}\n({max(value.n for value in by_set[title].values()):,})"
        dots[panel], chances[panel] = by_set[title], chance(subset)
        for name, row in rows.items():
            # As in the text, or the table would be too wide.
            value = by_set[title].get(name)
            row[title.removeprefix("ImageNet-")] = None if value is None else value.value
    relative = _scores(models, IMAGENET_C, MCE)
    for name, value in relative.items():
        rows[name][MCE] = value.value
    picture = summary_figures.headlines(dots, list(models), chance=chances, ceilings={})
    blocks: list[str | page.Table | page.Picture] = [
        TEXT,
        _finding(by_set, len(models)),
        page.Picture(picture, PICTURE),
        page.Table(list(rows.values()), TABLE + RELATIVE * bool(relative)),
    ]
    by_corruption = {
        corruption.replace("_", " ").replace("jpeg", "JPEG"): scores
        for corruption in ALEXNET_ERRORS
        if (scores := _scores(models, f"{IMAGENET_C}/{corruption}"))
    }
    if by_corruption:
        picture = ood_figures.corruptions(by_corruption, list(models))
        blocks.append(page.Picture(picture, CORRUPTIONS))
    return page.Section(TITLE, blocks)


def _finding(by_set: Mapping[str, Mapping[str, Measured]], n: int) -> str:
    """The best model on the first set, which is ImageNet itself if that is there."""
    first, scores = next(iter(by_set.items()))
    best = max(scores, key=lambda name: scores[name].value)
    text = f"{best} names what {100 * scores[best].value:.1f} % of the photographs of {first} show"
    if n > 1:
        text += f", the most of {n} models"
    own = {title: of_set[best].value for title, of_set in by_set.items() if best in of_set}
    hardest = min(own, key=own.__getitem__)
    if len(own) > 1:
        text += f"; hardest for it is {hardest}, with {100 * own[hardest]:.1f} %"
    return f"{text}."


def _scores(
    models: Mapping[str, Answers], subset: str, metric: str = ACCURACY
) -> dict[str, Measured]:
    return {
        name: value
        for name, found in models.items()
        if (value := found.find(subset, metric)) is not None
    }
