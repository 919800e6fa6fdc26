"""Intake: a submitted file becomes valid and rejected lines, streamed; nothing is written here."""

from producer.intake.first_lines import FirstLines
from producer.intake.lines import IntakeLimits, Line, RejectedLine, ValidLine, read_lines

__all__ = ["FirstLines", "IntakeLimits", "Line", "RejectedLine", "ValidLine", "read_lines"]
