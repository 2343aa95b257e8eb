"""What can be asked of a blocking runtime, whether it opens its own transactions or is bound to one?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duraflow.runtime.blocking.asking import Asking
from duraflow.runtime.blocking.moving import Moving
from duraflow.runtime.blocking.seeing import Seeing
from duraflow.runtime.engine import Target

if TYPE_CHECKING:
    from duraflow.runtime.blocking.handle import Handle


class Calls(Moving, Asking, Seeing):
    """What can be asked of a runtime, whether it opens its own transactions or is bound to one."""

    def handle(self, target: Target) -> Handle:
        """The same calls for one instance, without naming it again. Reads nothing."""
        from duraflow.runtime.blocking.handle import Handle

        return Handle(self, target)
