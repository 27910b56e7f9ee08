"""Methods compared at equal mean samples."""

import numpy as np
import pytest

from outthink.reproduce.s029_self_calibration import matched


def test_a_mixture_of_two_thresholds_draws_as_many_as_asked():
    few = (np.array([0.0, 1.0]), np.array([1.0, 3.0]))
    many = (np.array([1.0, 1.0]), np.array([5.0, 7.0]))
    for budget, share in ((2, 0.0), (4, 0.5), (5, 0.75), (6, 1.0), (1, 0.0), (9, 1.0)):
        wanted = (1 - share) * few[0] + share * many[0]
        assert matched([many, few], budget) == pytest.approx(wanted)
    assert matched([few], 5) == pytest.approx(few[0])
