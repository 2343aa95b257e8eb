"""Is what is kept in PostgreSQL as it should be, and the database that keeps it?"""

from duraflow_pg.doctor.ailments import PG_AILMENTS
from duraflow_pg.doctor.inspector import PgInspector
from duraflow_pg.doctor.limits import DoctorLimits

__all__ = ["PG_AILMENTS", "DoctorLimits", "PgInspector"]
