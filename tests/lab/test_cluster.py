"""A bench over a local Ray cluster of two workers, one of which dies half-way."""

import pytest

import outthink
from outthink.core import registry
from outthink.core.errors import BadInput, NotAuthorised
from outthink.lab.bench import Plan
from outthink.lab.design import Design
from tests.lab.test_bench import facts, questions, run

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'outthink[ray]'")

#: a model whose first call about some question kills the process that makes it
DEADLY = '''
import os, signal
from dataclasses import dataclass
from outthink import register
from outthink.core.errors import NotAuthorised
from outthink.models.simulated import Simulated, SimulatedModel

class DeadlyModel(SimulatedModel):
    async def generate(self, request, ticket):
        mark = os.environ["DEADLY_MARK"]
        if "number 7?" in request.messages[-1]["content"] and not os.path.exists(mark):
            open(mark, "w").write(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        if "forbidden" in request.messages[-1]["content"]:
            raise NotAuthorised("wrong key")
        return await super().generate(request, ticket)

@register("model", "deadly")
@dataclass(frozen=True)
class Deadly(Simulated):
    """Kills its process once."""

    def open(self):
        return DeadlyModel(self)
'''


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    from outthink.lab.cluster import on_ray

    home = tmp_path_factory.mktemp("cluster")
    (home / "deadly_parts.py").write_text(DEADLY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEADLY_MARK", str(home / "mark"))
        patch.setenv("RAY_AUTH_MODE", "disabled")
        outthink.load_file(str(home / "deadly_parts.py"))
        yield on_ray(workers=2), home
        ray.shutdown()
        del registry.entries("model")["deadly"]


def test_a_worker_that_dies_changes_nothing(cluster, tmp_path):
    executor, home = cluster
    design = Design(
        questions(tmp_path / "q.jsonl"),
        "deadly(accuracy=.6, latency=0.02)",
        ("self_consistency(n=[1,4])", "revision(n=4, length=4)"),
        width=2,
    )
    spread = run(design, tmp_path / "ray", executor=executor)
    assert (home / "mark").exists()  # one died
    assert len(spread.runs) == 3 * 12
    assert not [row for row in spread.runs if row.right is None]
    whole = run(design, tmp_path / "here")
    assert facts(spread) == facts(whole)
    assert spread.samples == whole.samples


def test_an_error_of_a_worker_is_that_error(cluster, tmp_path):
    executor, _ = cluster
    (tmp_path / "q.jsonl").write_text('{"question": "A forbidden one?", "answer": "1"}\n')
    design = Design(str(tmp_path / "q.jsonl"), "deadly", "greedy")
    with pytest.raises(NotAuthorised, match="wrong key"):
        run(design, tmp_path / "out", executor=executor)


def test_several_machines_need_a_store_that_they_share(cluster, tmp_path, monkeypatch):
    import anyio

    from outthink.lab.bench import Job

    executor, _ = cluster
    nodes = [{"NodeManagerAddress": f"10.0.0.{i}", "Alive": True} for i in (1, 2)]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    plan = Plan(Design("t"), None, {}, None, str(tmp_path / "calls.db"))
    with pytest.raises(BadInput, match="a file of one machine"):
        anyio.run(executor, plan, [Job("fly", None, 0)], print)
