import json
import re

from outthink.demo import BUDGETS, contenders, run_demo


def test_the_demo_writes_its_files_within_its_budgets_and_resumes_for_nothing(tmp_path):
    seen = []
    report = run_demo(tmp_path, 2, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2 * len(contenders()),) * 2
    limits = {f"tokens={tokens}": tokens for tokens, _ in BUDGETS}
    for row in report["rows"]:
        assert 0 < row["tokens"] <= limits[row["budget"]]
        assert row["interval"][0] <= row["accuracy"] <= row["interval"][1]
    assert json.loads((tmp_path / "demo.json").read_text())["rows"] == report["rows"]
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "demo.html").read_text()
    # self-contained: nothing is loaded from elsewhere
    assert set(re.findall(r'(?:src|href)="(.{5})', page)) == {"data:"}
    assert page.count("True answer") == 2
    before = (tmp_path / "calls.db").read_bytes()[28:32]  # SQLite's count of pages
    again = run_demo(tmp_path, 2)
    assert again["rows"] == report["rows"]
    assert (tmp_path / "calls.db").read_bytes()[28:32] >= before
