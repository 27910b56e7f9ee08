"""The documentation is true: its examples run, its commands exist, its links lead somewhere.

Needs no mkdocs.  Outputs that are no longer what comes: ``python scripts/docs_examples.py``, then read
the difference.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import sys
from pathlib import Path

import click
import pytest

from outthink import systems
from outthink.cli.catalog import parameters_of
from outthink.core import registry
from outthink.core.budget import Budget
from outthink.core.errors import SpecError
from outthink.verify.extract import EQUIVALENCES, HOWS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def script(name):
    """A module of ``scripts/``, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


examples, build = script("docs_examples"), script("build_docs")
PAGES = examples.pages()
NAMES = [str(p.relative_to(ROOT)) for p in PAGES]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The generated pages, written as ``make docs`` would."""
    return build.write(tmp_path_factory.mktemp("docs") / "reference")


# -- examples --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_what_a_page_shows_is_what_happens(page):
    wrong = examples.run_page(page)
    assert not wrong, "\n".join(
        f"{block.place} shows\n{block.text}\nand this came:\n" + "\n".join(came)
        for block, came in wrong
    )


def test_there_is_something_to_run():
    kinds = [b.language for page in PAGES for b in examples.blocks(page) if not b.fragment]
    assert kinds.count("python") > 10
    assert kinds.count("console") > 10


PAGE = """# A page

```python
x = 6 * 7
print(x)
```

```text
{shown}
```

```console
$ outthink solve "6 * 7?" --model simulated --budget {budget} --store none
error: unknown limit 'token' in the budget; did you mean 'tokens'? known: {known}
```
"""
KNOWN = "calls, completion_tokens, flops, seconds, tokens, total_tokens, usd"


def run(**parts):
    text = PAGE.format(**{"shown": "42", "budget": "token=5", "known": KNOWN} | parts)
    return [block.language for block, _ in examples.run_page(DOCS / "page.md", text)]


def test_a_false_page_is_found_out():
    assert run() == []
    assert run(shown="43") == ["text"]
    assert run(known="none") == ["console"]
    assert run(budget="tokens=40") == ["console"]
    with pytest.raises(ZeroDivisionError) as broken:
        examples.run_page(DOCS / "page.md", "```python\n1 / 0\n```")
    assert "page.md, line 1" in broken.value.__notes__[0]
    with pytest.raises(ValueError, match="beginning"):
        examples.blocks(DOCS / "page.md", "- a list\n\n  ```python\n  1 / 0\n  ```")
    with pytest.raises(ValueError, match="no end"):
        examples.blocks(DOCS / "page.md", "```python\n1 / 0\n")


def test_a_fragment_is_not_run_and_says_why():
    fragment = "<!-- fragment: {} -->\n```python\n1 / 0\n```"
    assert examples.run_page(DOCS / "page.md", fragment.format("needs a server")) == []
    with pytest.raises(ZeroDivisionError):
        examples.run_page(DOCS / "page.md", fragment.format(""))


def test_only_what_passes_is_overlooked():
    shown = ["7", "  best_of_n on fly: 1 call, 112 tokens, 0.09 s", "run ae1593dc72be"]
    came = ["7", "  best_of_n on fly: 1 call, 112 tokens, 1.31 s", "run 0123456789ab", ""]
    assert examples.alike(shown, came)
    assert not examples.alike(shown, ["8", *came[1:]])
    assert not examples.alike(shown, [came[0], came[1].replace("112", "113"), came[2]])
    assert examples.alike(["0.99893810"], ["0.99893811"])
    assert not examples.alike(["0.99893810"], ["0.99803811"])


def test_a_page_leaves_nothing_behind():
    before, here, modules = set(registry.entries("strategy")), Path.cwd(), set(sys.modules)
    store = os.environ.get("OUTTHINK_STORE")
    code = (
        "from dataclasses import dataclass\nfrom outthink import strategy\n"
        "@strategy('mine')\n@dataclass(frozen=True)\nclass Mine:\n    n: int = 1\n"
        "open('litter', 'w').close()\n"
    )
    assert examples.run_page(DOCS / "page.md", f"```python\n{code}```") == []
    assert set(registry.entries("strategy")) == before
    assert Path.cwd() == here
    assert os.environ.get("OUTTHINK_STORE") == store
    assert set(sys.modules) == modules


# -- commands --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_line_names_what_exists(page):
    for place, words, whole in examples.commands(page):
        try:
            examples.check_command(words, whole)
        except (click.UsageError, ValueError) as error:
            raise AssertionError(f"{place}: outthink {' '.join(words)}: {error}") from error


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_spec_builds(page):
    for block in examples.blocks(page):
        for spec in block.lines if block.language == "specs" else ():
            examples.check_spec(spec)


def test_a_spec_that_does_not_build_is_found_out():
    examples.check_spec("prm(model=fly-prm)")
    for spec in ("gredy", "prm(modl=fly-prm)", "best_of_n(verifier=prm"):
        with pytest.raises(SpecError):
            examples.check_spec(spec)


def test_commands_of_the_generated_pages_exist(reference):
    for page in reference:
        for place, words, whole in examples.commands(page):
            assert not whole, place
            examples.check_command(words, whole=False)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("outthink servve", click.UsageError),
        ("outthink solve Q --budgets tokens=1", click.NoSuchOption),
        ("outthink solve", click.MissingParameter),
        ("outthink solve Q --budget token=1", ValueError),
        ("outthink solve Q --strategy 'self_consistency(m=8)'", SpecError),
        ("outthink solve Q --model 'fly(rows=8)'", SpecError),
        ("outthink solve Q --reader boxd", ValueError),
        ("outthink fly eval --level harder", click.BadParameter),
        ("outthink runs --limit 0", click.BadParameter),
        ("outthink --version2", click.NoSuchOption),
    ],
)
def test_a_command_line_that_is_wrong_is_found_out(line, error):
    (words,) = examples.words(line)
    with pytest.raises(error):
        examples.check_command(words)


def test_command_lines_are_found_wherever_they_stand():
    text = (
        "Say `outthink doctor`, or `outthink strategies\nNAME`; not `outthink.solve`.\n\n"
        '```sh\ncat q.txt | outthink solve - \\\n    --seed 1   # outthink serve\nKEY="a b" outthink runs'
        "\nmake demo\n```\n\n```python\noutthink = 1\n```\n\n```text\noutthink prints this\n```\n"
        "\n```console\n$ outthink runs --limit 2\noutthink prints this too\n```\n"
    )
    found = [(words, whole) for _, words, whole in examples.commands(DOCS / "page.md", text)]
    assert found == [
        (["solve", "-", "--seed", "1"], True),
        (["runs"], True),
        (["runs", "--limit", "2"], False),
        (["doctor"], False),
        (["strategies", "NAME"], False),
    ]


# -- links -----------------------------------------------------------------------------------------


def anchors(text):
    """The anchors of a page: its headings as mkdocs names them, and those that are written out."""
    found = set(re.findall(r'<a id="([^"]+)">', text))
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ (.+)$", outside, re.MULTILINE):
        word = re.sub(r"[^\w\s-]", "", heading).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", word))
    return found


def broken_links(pages):
    """The links of ``pages`` (name: text) that lead nowhere."""
    broken = []
    for name, text in pages.items():
        outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        outside = re.sub(r"`[^`\n]+`(?!\])", "", outside)
        for target in re.findall(r"\]\(([^)\s]+)\)", outside):
            if re.match(r"https?://|mailto:", target):
                continue
            path, _, anchor = target.partition("#")
            home = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            if home in pages:
                if anchor and anchor not in anchors(pages[home]):
                    broken.append(f"{name}: {target}")
            elif not path or path.endswith(".md") or not (DOCS / home).is_file():
                broken.append(f"{name}: {target}")
    return broken


def site(reference):
    """Every page by its path in the site, includes put in."""

    def text_of(path):
        text = path.read_text(encoding="utf-8")
        include = re.compile(r'^--8<-- "([^"]+)"$', re.MULTILINE)
        return include.sub(lambda m: (ROOT / m[1]).read_text(encoding="utf-8"), text)

    hand = [p for p in PAGES if p.is_relative_to(DOCS)]
    pages = {str(p.relative_to(DOCS)): text_of(p) for p in hand}
    return pages | {f"reference/{p.name}": text_of(p) for p in reference}


def test_every_link_between_pages_leads_somewhere(reference):
    assert not broken_links(site(reference))


def test_a_link_that_leads_nowhere_is_found_out():
    pages = {
        "a.md": "# A page\n[b](b.md) [here](#a-page) [pic](demo.png) `[no](no.md)`",
        "b.md": '# B\n[a](a.md#a-page) <a id="s1"></a> [s](#s1) [w](https://x.y/z)',
    }
    assert broken_links(pages) == []
    pages["a.md"] += "\n[gone](c.md) [gone](b.md#c) [gone](#c) [gone](no.png)"
    assert broken_links(pages) == [f"a.md: {t}" for t in ("c.md", "b.md#c", "#c", "no.png")]


def test_the_menu_has_every_page_and_no_other(reference):
    menu = re.search(r"^nav:\n((?: .*\n)+)", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)[1]
    named = re.findall(r": (\S+\.md)$", menu, re.MULTILINE)
    assert sorted(named) == sorted(site(reference))


# -- the generated pages ---------------------------------------------------------------------------


def sections(text):
    """The sections of a generated page by the name in their heading."""
    parts = re.split(r"^## `(.+)`$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_registered_part_has_a_section(reference):
    text = {p.name: p.read_text(encoding="utf-8") for p in reference}
    for kind in registry.KINDS:
        for name, entry in registry.entries(kind).items():
            mine = sections(text[build.PAGES[kind][0]])[name]
            for parameter in parameters_of(entry):
                assert f"`{parameter['name']}`" in mine, f"{name}: {parameter['name']}"
            assert all(f"`{need}`" in mine for need in entry.needs)
            for spec in re.findall(r"^Example: `(.+)`$", mine, re.MULTILINE):
                assert type(registry.build(spec, kind)) is entry.make
            assert all(f"[{s}](systems.md#{s.lower()})" in mine for s in entry.sources)


def test_a_part_without_a_page_is_an_error(monkeypatch):
    monkeypatch.delitem(build.PAGES, "verifier")
    with pytest.raises(SystemExit, match="verifier"):
        build.pages()


def test_a_new_part_gets_its_section(monkeypatch):
    entry = registry.entries("strategy")["greedy"]
    new = dataclasses.replace(entry, name="brand_new", needs=frozenset({"PREFIX"}))
    assert "brand_new" not in sections(build.pages()["strategies.md"])
    monkeypatch.setitem(registry.entries("strategy"), "brand_new", new)
    assert "`PREFIX`" in sections(build.pages()["strategies.md"])["brand_new"]


def test_every_system_has_a_row_and_is_counted(reference):
    text = next(p for p in reference if p.name == "systems.md").read_text(encoding="utf-8")
    for row in systems.load():
        assert f'<a id="{row["id"].lower()}"></a>{row["id"]} |' in text
    for state, n in systems.counts().items():
        assert f"{n} {state}" in text


def test_every_command_and_option_has_its_place(reference):
    text = next(p for p in reference if p.name == "commands.md").read_text(encoding="utf-8")

    def paths(command, path):
        yield path, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from paths(inner, f"{path} {name}")

    for path, command in paths(examples.app, "outthink"):
        assert path == "outthink" or re.search(rf"^###+ {path}$", text, re.MULTILINE)
        for option in command.params:
            assert all(name in text for name in option.opts if name.startswith("--"))


# -- what is said of the code by hand ------------------------------------------------------------------


def test_what_is_listed_by_hand_is_complete():
    budgets = (DOCS / "budgets.md").read_text(encoding="utf-8")
    for name in Budget.__dataclass_fields__:
        assert f"| `{name}` |" in budgets
    verifiers = (DOCS / "verifiers.md").read_text(encoding="utf-8")
    assert all(re.search(rf"^\| `{how}[(`]", verifiers, re.MULTILINE) for how in HOWS)
    assert all(re.search(rf"^\| `{same}`", verifiers, re.MULTILINE) for same in EQUIVALENCES)
    assert all(f"`{name}" in verifiers for name in registry.entries("verifier"))
    models = (DOCS / "models.md").read_text(encoding="utf-8")
    assert all(f"`{name}" in models for name in registry.entries("model"))
