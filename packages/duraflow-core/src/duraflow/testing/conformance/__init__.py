"""Does an adapter keep what the ports promise? The suite that memory, PostgreSQL and anyone's own store must pass.

Each check is a plain function of a `Subject`, which says how to open the store under test. With pytest:

    import pytest
    from duraflow.testing.conformance import Check, Subject, checks

    @pytest.mark.parametrize("check", checks(), ids=str)
    def test_my_store(check: Check, tmp_path: Path) -> None:
        check(Subject(persistence=lambda namespace: my_persistence(tmp_path / "store.db", namespace)))

Checks ask for abilities, never for names: one that needs a port which the store does not have, or several transactions
at a time where the subject says that it has one, is skipped. `checks(base=True)` are those that a persistence with the
three base ports must pass. It needs pytest.
"""

import pytest

_PARTS = (
    "instances",
    "history",
    "transactions",
    "writing",
    "due",
    "definitions",
    "receipts",
    "races",
    "creating",
    "firing",
    "chains",
    "commands",
    "timers",
    "operating",
    "versions",
    "upgrading",
    "keyed",
    "keys",
    "scopes",
    "asking",
    "seeing",
    "observing",
    "feeding",
    "emitting",
    "dispatching",
    "retention",
    "doctoring",
)
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

from duraflow.testing.conformance.subject import ABILITIES, Check, Subject, World, all_checks  # noqa: E402


def checks(*, base: bool = False) -> tuple[Check, ...]:
    """All checks, in order of depth: ports first, then the runtime on them.

    Args:
        base: only those that need nothing but the three base ports, and one transaction at a time.
    """
    return tuple(check for check in all_checks(__name__, _PARTS) if not base or not check.needs)


__all__ = ["ABILITIES", "Check", "Subject", "World", "checks"]
