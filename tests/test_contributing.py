import importlib.util
import re
from pathlib import Path

import outthink
from outthink.core import registry

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()


def test_the_worked_example_works(tmp_path):
    code = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1]
    path = tmp_path / "first_agree.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location("first_agree", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    try:
        question = "Ada has 8 stamps. Jade has 4 fewer than Ada. How many stamps has Jade?"
        answer = outthink.solve(question, strategy="first_agree(n=8)")
        assert answer.answer == "4"
        assert 2 <= len(answer.candidates) < 8
        built = registry.build("first_agree(n=6, agree=3)", "strategy")
        assert registry.build(registry.spec_of(built), "strategy") == built
    finally:
        registry.entries("strategy").pop("first_agree")
