"""How does an instance's context change during a step?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duraflow.codec import Codec, canonical_json
from duraflow.errors import InvalidArgument
from duraflow.instance import NO_CHANGE, Change


class WorkingContext:
    """The context of an instance while a step works on it; commands write to `data` in place.

    What was written is found by comparing texts, as values are stored, so that 1, True and 1.0 differ.
    """

    __slots__ = ("_codec", "_encoded", "data")

    def __init__(self, data: dict[str, Any], codec: Codec) -> None:
        self.data = data
        self._codec = codec
        self._encoded: dict[str, str] | None = None

    def watch(self) -> None:
        """Remember the context as it is, because commands are about to write to it."""
        if self._encoded is None:
            self._encoded = self._texts()

    def restore(self) -> None:
        """Undo what was written to the context since it was remembered by `watch`, in place."""
        kept = self._encoded or {}
        self.data.clear()
        self.data.update({key: self._codec.decode(text) for key, text in kept.items()})

    def _texts(self) -> dict[str, str]:
        for key in self.data:
            if type(key) is not str:
                raise InvalidArgument("context", f"the key {key!r} is not text")
        codec = self._codec
        return {
            key: canonical_json(codec.to_plain(value, path=f"context.{key}"))
            for key, value in self.data.items()
        }

    def rewatch(self) -> dict[str, str] | None:
        """Take what was written so far as the state that `restore` returns to; gives the earlier one."""
        earlier = self._encoded
        self._encoded = self._texts()
        return earlier

    def watch_from(self, earlier: dict[str, str] | None) -> None:
        """Go back to an earlier remembered context as the one that changes are counted from."""
        self._encoded = earlier

    def written(self) -> Change:
        """What was written since it was remembered."""
        if self._encoded is None:
            return NO_CHANGE
        after = self._texts()
        written = {key: text for key, text in after.items() if self._encoded.get(key) != text}
        unset = tuple(key for key in self._encoded if key not in after)
        self._encoded = None
        decode = self._codec.decode
        # From now on it is what a store gives back; the entry keeps a copy of its own.
        self.data.update({key: decode(text) for key, text in after.items()})
        if not written and not unset:
            return NO_CHANGE
        return Change({key: decode(text) for key, text in written.items()}, unset)

    def replace(self, context: Mapping[str, Any]) -> Change:
        """Put other data in its place.

        Raises:
            InvalidArgument: it cannot be stored.
        """
        self.watch()
        self.data.clear()
        self.data.update(context)
        return self.written()

    def copy(self) -> dict[str, Any]:
        """An independent copy."""
        return self._codec.copy(self.data, path="context")  # type: ignore[return-value]  # an object stays one

    def overlay(self, declared: Mapping[str, Any], change: Change) -> Change:
        """Lay a state's declared context over the instance's."""
        codec = self._codec
        changed = {}
        for key, value in declared.items():
            text = canonical_json(codec.to_plain(value, path=f"context.{key}"))
            if key not in self.data or canonical_json(codec.to_plain(self.data[key], path=key)) != text:
                self.data[key] = codec.decode(text)
                changed[key] = codec.decode(text)
        if not changed:
            return change
        return Change({**change.set, **changed}, tuple(key for key in change.unset if key not in changed))
