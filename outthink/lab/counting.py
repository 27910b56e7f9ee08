"""Counting with distractors: questions on which thinking longer has made models worse.

Two things of one category, then true sentences that have nothing to do with their number, then how many
there are: the answer is always 2.  The number of distractors is a dial, the seed decides all the rest.

Source: the first task of S103 (Gema et al. 2025, arXiv 2507.14417), with its ten kinds of distractors and
0, 1, 3 or 5 of them; categories, things and sentences here are our own, so its figures are no figures of
these questions.  Cost: none.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from outthink.core.errors import BadInput
from outthink.core.nouns import Problem

#: a category, in the plural, and the two kinds of things of which one each is there
CATEGORIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "fruits": (("cox apple", "russet apple", "bramley apple"), ("navel orange", "blood orange")),
    "plants": (("fern", "ivy", "peony"), ("leek", "radish", "turnip")),
    "books": (("thriller", "saga", "fairy tale"), ("atlas", "grammar", "almanac")),
    "instruments": (("cello", "lute", "harp"), ("horn", "tuba", "bassoon")),
    "pets": (("manx cat", "tabby cat"), ("collie", "terrier", "spaniel")),
    "clothes": (("blouse", "jersey", "vest"), ("skirt", "kilt", "apron")),
    "drinks": (("ristretto", "flat white"), ("oolong tea", "mint tea")),
    "desserts": (("tart", "turnover", "eclair"), ("sponge cake", "plum cake")),
    "games": (
        ("draughts board", "go board", "chess set"),
        ("tennis racket", "cricket bat", "boule"),
    ),
    "tools": (("ladle", "whisk", "sieve"), ("chisel", "rasp", "mallet")),
}
#: how many distractors the published task has
LEVELS = (0, 1, 3, 5)


def counting(distractors: int, seed: int) -> Problem:
    """The question of this seed with so many distractors; its answer is 2."""
    if distractors < 0:
        raise BadInput(f"distractors={distractors} must be at least 0")
    rng = random.Random(f"counting/{distractors}/{seed}")
    category = rng.choice(list(CATEGORIES))
    first, second = (rng.choice(things) for things in CATEGORIES[category])
    said = [_distractor(rng, first, second) for _ in range(distractors)]
    text = " ".join(
        [
            f"There is {_one(first)} and {_one(second)} on your table.",
            *said,
            f"How many different kinds of {category} are on your table?",
        ]
    )
    return Problem(
        ({"role": "user", "content": text},),
        reference="2",
        id=f"counting/{distractors}/{seed}",
        meta={"distractors": distractors, "category": category, "things": (first, second)},
    )


def problems(count: int, levels: Sequence[int] = LEVELS, seed: int = 0) -> list[Problem]:
    """``count`` questions at each level, no two of one text at the same level."""
    out: list[Problem] = []
    for level in levels:
        seen: set[str] = set()
        # without distractors there are no more questions than pairs of things
        for i in range(50 * count):
            made = counting(level, seed * 1_000_003 + i)
            if made.question not in seen:
                seen.add(made.question)
                out.append(made)
            if len(seen) == count:
                break
        else:
            raise BadInput(f"count={count}: there are fewer questions with {level} distractors")
    return out


def _one(thing: str) -> str:
    return ("an " if thing[0] in "aeiou" else "a ") + thing


def _distractor(rng: random.Random, first: str, second: str) -> str:
    """A true sentence about the two things that says nothing of how many there are."""
    share, a, b = rng.randint(10, 90), rng.randint(2, 90), rng.randint(2, 90)
    place = ("in town", "at the harbour", "on a farm", "abroad", "at a fair")
    who = ("a cousin", "a neighbour", "your teacher", "a stranger", "your doctor")
    stuff = ("tin", "felt", "glass", "clay", "wood", "paper")
    colour = ("red", "green", "grey", "blue", "white", "brown")
    kind = rng.randrange(10)
    if kind == 0:
        return (
            f"Someone bets with odds of {share} in 100 that it is {_one(second)} and {_one(first)}."
        )
    if kind == 1:
        return f"With a chance of {share} % both come from {rng.choice(('far away', 'nearby'))}."
    if kind == 2:
        return f"With a chance of {share} % both are {rng.choice(('quite new', 'much used'))}."
    if kind == 3:
        return f"The {first} weighs {a} ounces, the {second} {b}."
    if kind == 4:
        return f"The {first} was {a} dollars, the {second} {b}."
    if kind == 5:
        unit = rng.choice(("hours", "days", "weeks"))
        return f"You have had the {first} for {a} {unit} and the {second} for {b}."
    if kind == 6:
        return f"You found the {first} {rng.choice(place)} and the {second} {rng.choice(place)}."
    if kind == 7:
        return (
            f"It was {rng.choice(who)} who praised the {first}, and {rng.choice(who)} the {second}."
        )
    if kind == 8:
        return (
            f"The {first} came in a box of {rng.choice(stuff)}, the {second} in one of "
            f"{rng.choice(stuff)}."
        )
    return f"The label of the {first} is {rng.choice(colour)}, that of the {second} {rng.choice(colour)}."
