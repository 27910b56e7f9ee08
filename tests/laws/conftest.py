"""The recorded sets, where they lie beside this checkout."""

from pathlib import Path

import pytest

from outthink.lab.recorded import known_set

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def data():
    if not DATA.exists():
        pytest.skip("the recorded sets of ../shared/data are not beside this checkout")
    return DATA


@pytest.fixture(scope="session")
def recorded(data):
    known = {}

    def pools(name):
        if name not in known:
            known[name] = known_set(name, data)
        return known[name]

    return pools
