"""Does every adapter keep what the ports promise, and does the runtime behave the same on each?"""

from __future__ import annotations

import pytest

from duraflow.testing.conformance import Check, checks
from tests.contract.stores import STORES, Make


@pytest.mark.parametrize("check", checks(), ids=str)
@pytest.mark.parametrize("make", STORES)
def test_contract(make: Make, check: Check, request: pytest.FixtureRequest) -> None:
    """Every check of the published suite holds."""
    check(make(request))
