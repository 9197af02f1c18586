"""The control APIs of engines, made when they are first needed: one for each kind of engine, shared by who controls."""

from collections.abc import Callable, Mapping

from stagedoor.model.engine import Engine, EngineKind
from stagedoor.service.ports import EngineControl


class Controls:
    """Hands out control APIs."""

    def __init__(self, make: Mapping[EngineKind, Callable[[], EngineControl]]) -> None:
        """Take how the control API of each kind of engine is made."""
        self._make = make
        self._made: dict[EngineKind, EngineControl] = {}

    def of(self, engine: Engine) -> EngineControl:
        """Return the control API for engines of this one's kind; whether it answers depends on its address."""
        if engine.kind not in self._made:
            self._made[engine.kind] = self._make[engine.kind]()
        return self._made[engine.kind]

    async def close(self) -> None:
        """Close the connections of those that were made."""
        for control in self._made.values():
            await control.close()
