"""An audit hook, for programs of their own: it cannot be removed, and slows down what follows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Tell: TypeAlias = Callable[[str, tuple[object, ...]], str | None]
"""What of an event is worth noting, if anything: gets its name and its arguments."""


class Watch:
    """Notes in ``seen`` what ``tell`` tells of the events that happen while it listens."""

    def __init__(self, tell: Tell) -> None:
        self.seen: list[str] = []
        self._tell = tell
        self._listening = False
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._listening:
            told = self._tell(event, arguments)
            if told is not None:
                self.seen.append(told)

    @contextmanager
    def listening(self) -> Iterator[None]:
        self._listening = True
        try:
            yield
        finally:
            self._listening = False

    @contextmanager
    def nothing_happens(self) -> Iterator[None]:
        self.seen.clear()
        with self.listening():
            yield
        assert self.seen == []
