import os
import secrets
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, settings

slow = [HealthCheck.too_slow]
settings.register_profile("quick", max_examples=30, deadline=None, suppress_health_check=slow)
settings.register_profile("thorough", max_examples=1000, deadline=None, suppress_health_check=slow)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

SERVER = os.environ.get("OUTTHINK_TEST_POSTGRES", "")


def pytest_generate_tests(metafunc):
    if "url" in metafunc.fixturenames:
        kinds = ["sqlite", "postgres"] if SERVER else ["sqlite"]
        metafunc.parametrize("url", kinds, indirect=True)


@pytest.fixture
def url(request, tmp_path):
    """The URL of a new, empty store: SQLite, and PostgreSQL where a server is named."""
    if request.param == "sqlite":
        yield str(tmp_path / "store.db")
        return
    import psycopg

    schema = "t_" + secrets.token_hex(6)
    with psycopg.connect(SERVER, autocommit=True) as server:
        server.execute(f"CREATE SCHEMA {schema}")
        joint = "&" if "?" in SERVER else "?"
        yield f"{SERVER}{joint}options={quote(f'-csearch_path={schema}')}"
        server.execute(f"DROP SCHEMA {schema} CASCADE")
