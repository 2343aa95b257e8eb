"""Where would recorded histories have gone differently under another definition?"""

from duraflow.rerun.report import RerunDifference, RerunGroup, RerunOutcome, RerunReport, RerunUnknown

__all__ = ["RerunDifference", "RerunGroup", "RerunOutcome", "RerunReport", "RerunUnknown"]
