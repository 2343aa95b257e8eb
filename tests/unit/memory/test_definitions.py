"""Does the in-memory definition store tell a changed workflow from a known one?"""

from __future__ import annotations

import json

from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.memory import InMemoryPersistence
from duraflow.runtime.drive import drive
from tests.unit.memory.support import started


def _workflow(version: int = 1, end: str = "paid") -> Workflow:
    return Workflow(
        name="fine",
        version=version,
        initial="created",
        states=[State("created", [Transition("pay", target=end)]), State(end, final=True)],
    )


def _register(persistence: InMemoryPersistence, *workflows: Workflow) -> dict[tuple[str, int], object]:
    assert persistence.definitions is not None
    return dict(drive(persistence.definitions.register(workflows)))


def test_what_is_new_or_known_is_fine() -> None:
    """Registering the same content again finds nothing to say."""
    persistence = started()
    assert _register(persistence, _workflow(1), _workflow(2)) == {}
    assert _register(persistence, _workflow(1), _workflow(2)) == {}


def test_other_content_gives_the_stored_snapshot() -> None:
    """Of the changed one only, as plain JSON; what was new beside it is kept, and the stored one stays."""
    persistence = started()
    first, changed = _workflow(1), _workflow(1, "settled")
    _register(persistence, first)
    snapshot = {("fine", 1): json.loads(json.dumps(first.to_json()))}
    assert _register(persistence, changed, _workflow(2)) == snapshot
    assert _register(persistence, changed) == snapshot
    assert _register(persistence, first) == {}
    assert _register(persistence, _workflow(2, "settled")) != {}


def test_namespaces_know_their_own() -> None:
    """The same name and version may mean something else there."""
    persistence = started()
    _register(persistence, _workflow(1))
    assert _register(started(namespace="b", database=persistence.database), _workflow(1, "settled")) == {}


def test_two_contents_in_one_call_are_told_apart() -> None:
    """The first one is kept."""
    persistence = started()
    assert list(_register(persistence, _workflow(1), _workflow(1, "settled"))) == [("fine", 1)]
    assert _register(persistence, _workflow(1)) == {}
