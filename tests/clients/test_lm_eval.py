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
    filter: &read
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


def run(tmp_path, gateway, model):
    """The command that the page shows, on a task of this file: accuracy of the first and of votes."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"a": i, "b": 10}) + "\n" for i in range(12)))
    (tmp_path / "sums.yaml").write_text(TASK.format(rows=rows))
    [command] = [c for c in shown("lm-eval", "sh")[0].replace("\\\n", " ").splitlines()
                 if c.startswith("lm_eval")]  # fmt: skip
    words = shlex.split(
        command.replace(SHOWN, gateway.root).replace("model=qwen3-8b", f"model={model}")
    )
    assert f"model={model}" in command.replace("model=qwen3-8b", f"model={model}")
    words[words.index("--tasks") + 1] = "sums"
    words += ["--include_path", str(tmp_path), "--output_path", str(tmp_path / "out")]
    code = "from lm_eval.__main__ import cli_evaluate; cli_evaluate()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words[1:]],
        env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "", "OPENAI_API_KEY": "none",
             "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    [found] = (tmp_path / "out").rglob("results_*.json")
    told = json.loads(found.read_text())["results"]["sums"]
    return told["exact_match,first"], told["exact_match,majority"]


@pytest.mark.slow
def test_repeats_with_one_seed_are_samples_of_their_own(tmp_path, voting, upstream):
    first, _ = run(tmp_path, voting, "m")
    sent = [call.body for call in upstream.book.calls]
    assert sum(int(body.get("n") or 1) for body in sent) == 12 * 8 * 8
    assert first > 0.95
