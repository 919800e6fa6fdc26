"""Intake: a submitted file becomes valid and rejected lines, streamed; nothing is written here."""

from producer.intake.first_lines import FirstLines
from producer.intake.lines import IntakeLimits, Line, RejectedLine, ValidLine
from producer.intake.reading import LineReader, read_lines
from producer.intake.usual import PlainRequest

__all__ = [
    "FirstLines",
    "IntakeLimits",
    "Line",
    "LineReader",
    "PlainRequest",
    "RejectedLine",
    "ValidLine",
    "read_lines",
]
