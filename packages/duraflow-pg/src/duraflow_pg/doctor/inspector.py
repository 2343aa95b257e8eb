"""Which checks does a doctor make on PostgreSQL, and in which order?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

import attrs

from duraflow.diagnosis import DoctorReport
from duraflow.ports import Examination
from duraflow_pg.database import PgDatabase
from duraflow_pg.doctor import due, histories, instances, outbox, schema, server, storage
from duraflow_pg.doctor.limits import DoctorLimits
from duraflow_pg.doctor.running import Looked, Ward

CHECKS: Final[Mapping[str, Callable[[Ward, Looked], Awaitable[None]]]] = MappingProxyType(
    {
        "schema": schema.check_schema,
        "indexes": schema.check_indexes,
        "instances": instances.check_instances,  # counts what the ones below take samples of
        "histories": histories.check_histories,
        "folding": histories.check_folding,
        "due": due.check_due,
        "due_times": due.check_due_times,
        "receipts": outbox.check_receipts,
        "messages": outbox.check_messages,
        "handlers": outbox.check_handlers,
        "positions": server.check_positions,
        "sessions": server.check_sessions,
        "held": server.check_held,
        "vacuum": storage.check_vacuum,
        "bloat": storage.check_bloat,
        "clocks": server.check_clocks,
        "settings": server.check_settings,
    }
)
"""By name, in order."""

_SERVER: Final = b"SELECT current_setting('server_version')"


@attrs.frozen(eq=False)
class PgInspector:
    """`Inspector` on PostgreSQL: each check is a few statements over sets, in a transaction that only reads.

    Attributes:
        limits: from when on something is called wrong; `attrs.evolve(persistence, inspector=…)` sets others.
        wall: the application's clock.
    """

    _database: PgDatabase
    limits: DoctorLimits = attrs.field(factory=DoctorLimits)
    wall: Callable[[], datetime] = server.wall_clock

    async def examine(self, examination: Examination, /) -> DoctorReport:
        ((version,),) = await self._database.fetch(None, _SERVER, {})
        ward = Ward(self._database, examination, self.limits, self.wall)
        checks = [await ward.run(name, check) for name, check in CHECKS.items()]
        return DoctorReport(f"PostgreSQL {version}", self._database.namespace, tuple(checks))
