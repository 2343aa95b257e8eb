"""What does a page of the docs hold, and how is its code run?

A page is Markdown. Its blocks of ```python run in order in one namespace, a module of its own; the comment
`<!-- new example -->` begins a new one. The comment `<!-- output -->` before a block says that it is what the code
before it prints. A block that cannot run says why: ```python notest: reason.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<language>[\w+-]*) *(?P<info>.*)")
_COMMENT = re.compile(r"\s*<!-- *(.*?) *-->\s*")
_HEADING = re.compile(r"#{1,6} +(.*?) *#*")
_LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")

NEEDS_DATABASE = re.compile(r"\bdsn\b|DURAFLOW_DSN|DATABASE_URL|from_env\(")


@attrs.frozen
class Block:
    """One fenced block.

    Attributes:
        line: where its first line of code stands, from 1.
        comment: the HTML comment right before it.
        example: how many times `<!-- new example -->` stands above it.
    """

    language: str
    info: str
    code: str
    line: int
    comment: str
    example: int

    @property
    def runs(self) -> bool:
        """Whether it is Python to be executed."""
        return self.language == "python" and not self.info.startswith("notest")

    @property
    def is_output(self) -> bool:
        """Whether it shows what the code before it prints."""
        return self.comment == "output"


@attrs.frozen(eq=False)
class Page:
    """A Markdown file."""

    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> Page:
        """The page in this file."""
        return cls(path, path.read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        """Its path from the top of the checkout."""
        return str(self.path.relative_to(ROOT))

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Its fenced blocks, in order."""
        return tuple(_blocks(self.text))

    @property
    def prose(self) -> str:
        """The text without its fenced blocks and code spans."""
        lines = self.text.splitlines()
        for block in self.blocks:
            for number in range(block.line - 2, block.line + block.code.count("\n")):
                lines[number] = ""
        return re.sub(r"`[^`\n]*`", "", "\n".join(lines))

    @property
    def anchors(self) -> frozenset[str]:
        """What `#…` can lead to, as GitHub makes it of headings."""
        found: list[str] = []
        code = {line for b in self.blocks for line in range(b.line - 1, b.line + b.code.count("\n"))}
        for number, line in enumerate(self.text.splitlines(), 1):
            if number not in code and (heading := _HEADING.fullmatch(line)):
                slug = re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")
                found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
        return frozenset(found)

    @property
    def links(self) -> tuple[str, ...]:
        """Where its links lead."""
        prose = re.sub(r"`[^`\n]*`", "x", self.text)
        return tuple(_LINK.findall(prose))

    @property
    def needs_database(self) -> bool:
        """Whether its code speaks of a DSN, or of tables."""
        return any(
            (block.runs and NEEDS_DATABASE.search(block.code)) or block.language == "sql"
            for block in self.blocks
        )


def pages() -> list[Page]:
    """README.md, ARCHITECTURE.md and docs/, and the pages that the packages show on an index."""
    paths = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").rglob("*.md"))]
    paths += sorted((ROOT / "packages").glob("*/README.md"))
    return [Page.read(path) for path in paths if path.exists()]


def page(name: str) -> Page:
    """The page of this path."""
    return Page.read(ROOT / name)


def _blocks(text: str) -> Iterator[Block]:
    example = 0
    comment = ""
    opened: re.Match[str] | None = None
    start = 0
    code: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if opened is not None:
            if line.strip() == opened["fence"]:
                indent = len(opened["indent"])
                yield Block(
                    opened["language"],
                    opened["info"].strip(),
                    "".join(f"{row[indent:]}\n" for row in code),
                    start,
                    comment,
                    example,
                )
                opened, comment = None, ""
            else:
                code.append(line)
        elif found := _FENCE.fullmatch(line):
            opened, start, code = found, number + 1, []
        elif found := _COMMENT.fullmatch(line):
            comment = found[1]
            example += comment == "new example"
        elif line.strip():
            comment = ""
    if opened is not None:
        raise AssertionError(f"the block that begins in line {start - 1} is never closed")


@attrs.define
class Runner:
    """Runs the blocks of one page.

    Attributes:
        given: names that every namespace begins with.
        run_sql: what executes a block of SQL, and gives its result as text; None leaves SQL alone.
        count: how many blocks were run.
    """

    page: Page
    given: dict[str, Any] = attrs.field(factory=dict)
    run_sql: Callable[[str], str] | None = None
    count: int = 0

    def run(self) -> list[types.ModuleType]:
        """Run everything; the namespaces, one for each example."""
        modules: list[types.ModuleType] = []
        example, printed = -1, ""
        try:
            for block in self.page.blocks:
                if block.example != example:
                    example = block.example
                    modules.append(self._module(example))
                if block.is_output:
                    assert printed.rstrip() == block.code.rstrip(), self._at(block, printed)
                elif block.runs:
                    printed = self._python(block, modules[-1])
                elif block.language == "sql" and self.run_sql is not None:
                    try:
                        printed = self.run_sql(block.code)
                    except Exception as error:
                        error.add_note(self._at(block))
                        raise
                    self.count += 1
        finally:
            for module in modules:
                sys.modules.pop(module.__name__, None)
        return modules

    def _module(self, example: int) -> types.ModuleType:
        """A module, because classes find the names of their annotations by it."""
        name = re.sub(r"\W", "_", f"page_{self.page.name}_{example}")
        module = types.ModuleType(name)
        module.__dict__.update(self.given)
        sys.modules[name] = module
        return module

    def _python(self, block: Block, module: types.ModuleType) -> str:
        # Empty lines before the code, so that a traceback shows the line of the page.
        source = "\n" * (block.line - 1) + block.code
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(source, str(self.page.path), "exec"), module.__dict__)
        except Exception as error:
            error.add_note(self._at(block))
            raise
        self.count += 1
        return printed.getvalue()

    def _at(self, block: Block, printed: str = "") -> str:
        said = f"; it printed\n{printed}" if printed else ""
        return f"{self.page.name}, line {block.line}{said}"
