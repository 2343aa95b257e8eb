"""How does one try a workflow on what really happened? Replay an event log through it, on the log's own time.

    clock = LogClock()
    with Runtime(workflows=[fine], persistence=InMemoryPersistence(), clock=clock) as runtime:
        report = replay(runtime, read_log("fines.csv"), workflow=fine, meanings={…}, clock=clock)
    print(report.to_markdown())

Any workflow, any log, any persistence; docs/replay.md shows how.
"""

from duraflow.replay.clock import LogClock
from duraflow.replay.eventlog import read_csv, read_log
from duraflow.replay.events import LogError, LogEvent
from duraflow.replay.meaning import Case, Create, Fire, Ignore, Meaning
from duraflow.replay.replayer import replay
from duraflow.replay.report import Deviation, Outcome, ReplayReport, Result, TimerFiring, Verdict
from duraflow.replay.xes import read_xes

__all__ = [
    # logs
    "LogEvent",
    "LogError",
    "read_log",
    "read_csv",
    "read_xes",
    # what they mean
    "Meaning",
    "Create",
    "Fire",
    "Ignore",
    "Case",
    # replaying
    "LogClock",
    "replay",
    # what came of it
    "ReplayReport",
    "Result",
    "Verdict",
    "Outcome",
    "TimerFiring",
    "Deviation",
]
