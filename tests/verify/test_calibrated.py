"""A verifier whose scores are mapped: in order as before, and meaning what they say."""

from dataclasses import dataclass

import anyio
import numpy as np
import pytest

import outthink
from outthink.core.errors import BadInput
from outthink.core.nouns import Score
from outthink.core.registry import build, entries, register, spec_of
from outthink.lab.calibrate import calibrate
from outthink.select.recalibrate import mapped
from outthink.testing import check_verifier
from outthink.verify.calibrated import Calibrated

INNER = "prm(model=simulated_prm)"


@pytest.fixture(scope="module", autouse=True)
def a_verifier_of_ratings():
    @register("verifier", "ten")
    @dataclass(frozen=True)
    class Ten:
        """Ten of ten, always."""

        async def __call__(self, problem, samples, run):
            """Say so."""
            return [Score(10.0) for _ in samples]

    yield
    entries("verifier").pop("ten")


def test_it_keeps_the_laws():
    check_verifier(f"calibrated(verifier={INNER}, slope=0.5, offset=-1)")


def test_the_two_numbers_stand_in_its_spec():
    made = Calibrated(build("yes_no", "verifier"), 1.5, -0.25)
    assert spec_of(made) == "calibrated(verifier=yes_no, slope=1.5, offset=-0.25)"
    assert build(spec_of(made), "verifier") == made
    with pytest.raises(BadInput, match="offset"):
        Calibrated(build("yes_no", "verifier"), 1.0, float("nan"))


def test_best_of_n_chooses_as_before_where_the_map_rises():
    question = "Ada has 3 pens. Ben has 4 more than Ada. How many pens has Ben?"
    model = "simulated(accuracy=0.4)"
    for seed in range(5):
        plain, calibrated = (
            outthink.solve(
                question, model=model, strategy=f"best_of_n(n=6, verifier={v})", seed=seed
            )
            for v in (INNER, f"calibrated(verifier={INNER}, slope=0.3, offset=2)")
        )
        assert plain.text == calibrated.text
        wanted = mapped(np.array(plain.scores["verifier"]), 0.3, 2.0)
        assert calibrated.scores["verifier"] == pytest.approx(wanted)


def test_a_score_that_is_no_probability_is_refused():
    with pytest.raises(BadInput, match="0 to 1"):
        outthink.solve(
            "1 + 1?",
            model="simulated",
            strategy="best_of_n(n=2, verifier=calibrated(verifier=ten))",
        )


def test_calibration_needs_no_right_answers():
    """The model agrees with itself on nearly all: what was said too modestly is raised."""
    questions = [f"Ada has {k} pens. Ben has 4 more than Ada. How many?" for k in range(8)]
    modest = f"calibrated(verifier={INNER}, offset=-4)"
    made = calibrate(questions, modest, "simulated(accuracy=0.97)", n=8)
    assert made.offset > 1
    assert made.verifier == build(modest, "verifier")
    again = calibrate(questions, modest, "simulated(accuracy=0.97)", n=8, width=3)
    assert again == made
    with pytest.raises(BadInput, match="questions"):
        calibrate([], modest)


def test_it_can_be_called_where_no_loop_runs_only():
    async def inside():
        return calibrate(["1 + 1?"], INNER, "simulated", n=2)

    with pytest.raises(RuntimeError):
        anyio.run(inside)
