"""Which parts of ARCHITECTURE.md follow from the code? The module map and the public signatures.

    python -m tests.docs.architecture

writes them into the page, between its comments.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

import duraflow
import duraflow.memory
import duraflow.ports
import duraflow_pg
from tests.docs.pages import ROOT

PAGE = ROOT / "ARCHITECTURE.md"
_SOURCES = {
    "duraflow": ROOT / "packages" / "duraflow-core" / "src" / "duraflow",
    "duraflow_pg": ROOT / "packages" / "duraflow-pg" / "src" / "duraflow_pg",
    "duraflow_cli": ROOT / "packages" / "duraflow-cli" / "src" / "duraflow_cli",
}


# --- the module map ---------------------------------------------------------------------------------------------


def module_map() -> str:
    """Every module with the question that its first line asks."""
    return "\n\n".join("\n".join(_folder(source, 0)) for source in _SOURCES.values()) + "\n"


def _folder(path: Path, depth: int) -> Iterator[str]:
    yield _line(f"{path.name}/", _question(path / "__init__.py"), depth)
    inner = [item for item in path.iterdir() if item.suffix == ".py" or (item / "__init__.py").exists()]
    for item in sorted(inner, key=lambda found: (found.is_dir(), found.name)):
        if item.is_dir():
            yield from _folder(item, depth + 1)
        elif item.name != "__init__.py":
            yield _line(item.name, _question(item), depth + 1)


def _line(name: str, question: str, depth: int) -> str:
    shown = "    " * depth + name
    return f"{shown:<28} {question}".rstrip()


def _question(path: Path) -> str:
    """The first sentence of the docstring."""
    text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    return re.split(r"(?<=[?.])\s", text)[0]


def modules_in(text: str) -> set[str]:
    """The modules that a map names, as paths below the packages."""
    found: set[str] = set()
    folders: list[str] = []
    for line in text.splitlines():
        if match := re.match(r"( *)([\w/]+(?:\.py)?)(?: |$)", line):
            depth, name = len(match[1]) // 4, match[2]
            if name.endswith("/"):
                folders = [*folders[:depth], name]
            found.add("".join([*folders[:depth], name]))
    return found


# --- signatures -------------------------------------------------------------------------------------------------


_GROUPS = (
    ("Definitions", (
        "Workflow", "State", "Transition", "Wildcard", "CommandRef", "GuardRef", "DelayRef", "all_of", "any_of", "not_",
        "PayloadType", "Finding", "to_mermaid", "to_dot", "to_markdown", "transition_table",
    )),
    ("The runtime; AsyncRuntime and its like have the same calls, awaited", (
        "Runtime", "BoundRuntime", "LockedRuntime", "Handle", "TimerRetryPolicy", "StoreRetryPolicy", "Codec", "Limits",
        "SystemClock",
    )),
    ("Commands, guards and delays", (
        "command", "guard", "delay", "CommandContext", "UnitResources", "Success", "Failure", "Blocker",
    )),
    ("What is known of an instance", (
        "Instance", "HistoryEntry", "ArmedTimer", "CommandResult", "Change", "Continuation", "fold", "Folded",
    )),
    ("What is given and what comes back", (
        "NewInstance", "Firing", "FireResult", "Unfired", "Explanation", "Page", "StateCount", "SweepResult", "Parked",
        "Health", "Notice",
    )),
    ("Versions and upgrades", (
        "VersionInfo", "LiveProblem", "UpgradePlan", "UpgradeRow", "UpgradeReport", "NotUpgraded",
    )),
    ("Messages and the feed", (
        "Message", "MessageHandler", "MessageRetryPolicy", "DispatchResult", "ParkedMessage", "Changes", "FeedEntry",
    )),
    ("Seeing into it", (
        "InstanceDiff", "Why", "WaitingTimer", "RerunReport", "RerunGroup", "RerunOutcome", "RerunDifference",
        "RerunUnknown", "DoctorReport", "Checkup", "Diagnosis",
    )),
    ("Retention", ("PruneResult", "ImportResult", "Skipped")),
    ("Errors", (
        "DuraflowError", "EventRefused", "Rejected", "CommandFailed", "ChainTooDeep", "InvalidArgument", "Misuse",
        "InstanceNotFound", "AlreadyExists", "ConcurrencyConflict", "IdempotencyConflict", "Busy", "LockTimeout",
        "DefinitionError", "DefinitionConflict", "DefinitionNotFound", "LiveCheckFailed", "ImportRefused",
        "StoreUnavailable", "SchemaMismatch", "NotSupported",
    )),
)  # fmt: skip
_PG = [getattr(duraflow_pg, name) for name in duraflow_pg.__all__ if name != "AsyncPgPersistence"]
TWINS = ("Runtime", "BoundRuntime", "LockedRuntime", "Handle")
"""Each has an asyncio twin of the same calls, which is not shown again."""


def signatures() -> str:
    """What users call and get."""
    groups = [(f"duraflow: {title}", [getattr(duraflow, name) for name in names]) for title, names in _GROUPS]
    groups += [
        ("duraflow.memory", [duraflow.memory.InMemoryPersistence]),
        ("duraflow_pg; AsyncPgPersistence is for AsyncRuntime what PgPersistence is for Runtime", _PG),
        ("duraflow.ports", [duraflow.Persistence, *_ports()]),
    ]
    blocks = []
    for title, found in groups:
        lines = [f"# --- {title}", ""]
        for one in found:
            shown = [*_shown(one)]
            if len(shown) > 1 and lines[-1]:
                lines.append("")
            lines += [*shown, ""] if len(shown) > 1 else shown
        blocks.append("\n".join(lines).rstrip())
    return "\n\n\n".join(blocks) + "\n"


def left_out() -> set[str]:
    """Public names that no group shows."""
    shown = {name for _, names in _GROUPS for name in names} | {"Persistence"}
    return set(duraflow.__all__) - shown - {f"Async{name}" for name in (*TWINS, "Changes")}


def calls(cls: type) -> dict[str, str]:
    """The calls of a runtime with their parameters, without what makes them wait."""
    return {
        name.replace("__a", "__"): re.sub(r"\bAsync(?=[A-Z])", "", _signature(member))
        if inspect.isfunction(member)
        else ""
        for name, member in _members(cls, inherited=True)
    }


def _ports() -> Iterator[Any]:
    for value in vars(duraflow.ports).values():
        if (
            inspect.isclass(value)
            and value.__module__.startswith("duraflow.ports")
            and value is not duraflow.Persistence
        ):
            yield value


def _shown(found: Any) -> Iterator[str]:
    if not inspect.isclass(found):
        yield _wrapped("", "def ", found.__name__, _signature(found))
        return
    if attrs.has(found):
        made = _fields(found)
    elif getattr(found, "_is_protocol", False) or "__init__" not in vars(found) or found.__name__ in _GIVEN:
        made = ""
    else:
        made = _signature(found.__init__).removesuffix(" -> None")
    yield _wrapped("", "class ", found.__name__, made)
    if found.__module__.startswith("duraflow_pg") and found.__name__.endswith(_PORTS):
        return
    for name, member in _members(found, inherited=found is duraflow.Runtime):
        if isinstance(member, property):
            yield f"    {name}: {_annotation(inspect.signature(member.fget).return_annotation)}"  # type: ignore[arg-type]
        else:
            plain = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
            is_async = inspect.iscoroutinefunction(inspect.unwrap(plain))
            yield _wrapped("    ", "async def " if is_async else "def ", name, _signature(plain))
    if found is duraflow.BoundRuntime:
        yield "    # and every call of Runtime from `create` to `delete`"
    if found is duraflow.LockedRuntime:
        yield "    instance: Instance"
        yield "    # and all of BoundRuntime"


_PORTS = ("Store", "Writer", "TransactionRunner")
"""Classes named so satisfy the port of that name, whose methods are shown there."""

_GIVEN = frozenset({"BoundRuntime", "LockedRuntime", "Handle"})
"""Users get them, and never make one."""


def _members(cls: type, *, inherited: bool) -> Iterator[tuple[str, Any]]:
    seen = set(dir(Exception) if issubclass(cls, Exception) else ())
    owners = (
        [owner for owner in cls.__mro__ if owner.__module__.startswith("duraflow")] if inherited else [cls]
    )
    for owner in owners:
        for name, member in vars(owner).items():
            kinds = (classmethod, staticmethod, property)
            public = not name.startswith("_") or (name == "__call__" and getattr(cls, "_is_protocol", False))
            if public and name not in seen and (inspect.isfunction(member) or isinstance(member, kinds)):
                seen.add(name)
                yield name, member


def _fields(cls: type) -> str:
    shown = []
    keywords = False
    for field in attrs.fields(cls):
        if not field.init or field.name.startswith("_"):
            continue
        if field.kw_only and not keywords:
            keywords = True
            shown.append("*")
        text = f"{field.alias}: {_annotation(field.type)}"
        if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]  # attrs shows it as a function
            text += " = …"
        elif field.default is not attrs.NOTHING:
            text += f" = {_default(field.default)}"
        shown.append(text)
    return f"({', '.join(shown)})"


@attrs.frozen
class _Text:
    """Shown as it is where inspect shows a `repr`."""

    text: str

    def __repr__(self) -> str:
        return self.text


def _signature(function: Any) -> str:
    plain = inspect.unwrap(function)
    found = inspect.signature(plain)
    parameters = [
        parameter.replace(
            annotation=_shown_or_empty(parameter.annotation, _annotation),
            default=_shown_or_empty(parameter.default, _default),
        )
        for parameter in found.parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    returned = _shown_or_empty(found.return_annotation, _annotation)
    text = str(inspect.Signature(parameters, return_annotation=returned))
    if inspect.isasyncgenfunction(plain):
        return re.sub(r"-> AsyncIterator\[(.*)\]$", r"-> AsyncContextManager[\1]", text)
    if inspect.isgeneratorfunction(plain):
        return re.sub(r"-> Iterator\[(.*)\]$", r"-> ContextManager[\1]", text)
    return text


def _shown_or_empty(value: Any, show: Callable[[Any], str]) -> Any:
    return value if value is inspect.Parameter.empty else _Text(show(value))


def _annotation(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:duraflow\w*|collections|typing|datetime|uuid)(?:\.\w+)*\.(?=\w)", "", text)


def _default(value: Any) -> str:
    if isinstance(value, type(duraflow.Change().set)):
        return "{}"
    return repr(value).replace("datetime.", "").replace("mappingproxy({})", "{}")


def _wrapped(indent: str, keyword: str, name: str, text: str) -> str:
    """On lines of 118 characters, broken between parameters only."""
    glued = re.sub(r",\u00a0(?=\*|/|\w+:|\w+\)|\*\*)", ", ", f"{keyword}{name}{text}".replace(" ", "\u00a0"))
    lines = textwrap.wrap(
        glued.replace("\u00a0->\u00a0", " ->\u00a0"),
        118,
        initial_indent=indent,
        subsequent_indent=f"{indent}        ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines).replace("\u00a0", " ")


# --- the page ---------------------------------------------------------------------------------------------------


def section(text: str, name: str) -> str:
    """What stands in the block between the comments of this name."""
    found = re.search(rf"<!-- {name} -->\n+```[^\n]*\n(.*?)```\n+<!-- /{name} -->", text, re.DOTALL)
    assert found is not None, f"ARCHITECTURE.md has no section {name}"
    return found[1]


def _between(text: str, name: str, language: str, content: str) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n```{language}\n{content.rstrip()}\n```\n\n{end}{rest.partition(end)[2]}"


def main() -> None:
    """Write both sections anew."""
    text = PAGE.read_text(encoding="utf-8")
    text = _between(text, "module map", "text", module_map())
    text = _between(text, "signatures", "python notest: signatures, not statements", signatures())
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()


__all__ = ["PAGE", "module_map", "modules_in", "section", "signatures"]
