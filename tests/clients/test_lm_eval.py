"""lm-eval in front of the gateway: repeats that all send one seed still differ, and votes show."""

import importlib.util
import json
import shlex
import subprocess
import sys

import pytest

from tests.clients.conftest import SHOWN, shown

if importlib.util.find_spec("lm_eval") is None:
    pytest.skip("lm-eval is not installed: make test-clients", allow_module_level=True)

TASK = """\
task: sums
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: generate_until
doc_to_text: "What is {{{{a}}}} + {{{{b}}}}?"
doc_to_target: "{{{{a + b}}}}"
repeats: 8
generation_kwargs:
  until: ["\\n\\n"]
  max_gen_toks: 64
  temperature: 0.7
  do_sample: true
filter_list:
  - name: first
    filter:
      - function: regex
        regex_pattern: "answer is (\\\\d+)"
      - function: take_first
  - name: majority
    filter:
      - function: regex
        regex_pattern: "answer is (\\\\d+)"
      - function: majority_vote
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""


def run(folder, gateway, *options):
    """The page's command on the task above: the accuracy of first repeats and of votes over eight."""
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps({"a": i, "b": 10}) + "\n" for i in range(12)))
    (folder / "sums.yaml").write_text(TASK.format(rows=rows))
    lines = shown("lm-eval", "sh")[0].replace("\\\n", " ").splitlines()
    [command] = [line for line in lines if line.startswith("lm_eval")]
    words = shlex.split(command.replace(SHOWN, gateway.root))
    words[words.index("--tasks") + 1] = "sums"
    words += ["--include_path", str(folder), "--output_path", str(folder / "out"), *options]
    code = "from lm_eval.__main__ import cli_evaluate; cli_evaluate()"
    alone = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder), "PATH": "", "OPENAI_API_KEY": "none"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words[1:]],
        env=alone, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    [found] = (folder / "out").rglob("results_*.json")
    told = json.loads(found.read_text())["results"]["sums"]
    return told["exact_match,first"], told["exact_match,majority"]


@pytest.mark.slow
def test_the_page_votes_though_one_seed_comes_with_every_request(tmp_path, voting, upstream):
    first, _ = run(tmp_path, voting)
    sent = [call.body for call in upstream.book.calls]
    assert sum(int(body.get("n") or 1) for body in sent) == 12 * 8 * 8
    assert {body["model"] for body in sent} == {"qwen3-8b"}
    assert not any(body.get("seed") for body in sent)
    assert first > 0.95


@pytest.mark.slow
def test_without_a_strategy_and_a_seed_the_repeats_differ(tmp_path, gateway, upstream):
    first, majority = run(tmp_path, gateway, "--gen_kwargs", "seed=None")
    assert first < majority
    assert len(upstream.book.calls) == 12 * 8
