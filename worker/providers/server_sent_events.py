"""Server-sent events, read as they arrive: the framing that all wires' streams share."""

from collections.abc import Iterator
from dataclasses import dataclass

from worker.providers.errors import MaybeBilled

_LONGEST_LINE = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `name` is "" where the stream gave none."""

    name: str
    data: bytes


class EventReader:
    """Bytes in, events out. Lines may end in LF, CR LF or CR; comments keep connections alive and
    say nothing. An event without its blank line at the end of the stream is not one.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[bytes] = []

    def feed(self, part: bytes) -> Iterator[Event]:
        """The events that are complete with this part. Raises MaybeBilled for an endless line."""
        waiting = self._rest + part
        # A CR at the very end may be half of a CR LF.
        held = b"\r" if waiting.endswith(b"\r") else b""
        lines = waiting[: len(waiting) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *complete, rest = lines.split(b"\n")
        self._rest = rest + held
        if len(self._rest) > _LONGEST_LINE:
            raise MaybeBilled("answer_too_large", "an endless line in a stream")
        for line in complete:
            event = self._line(line)
            if event is not None:
                yield event

    def _line(self, line: bytes) -> Event | None:
        if not line:
            event = Event(self._name, b"\n".join(self._data)) if self._data else None
            self._name, self._data = "", []
            return event
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        return None
