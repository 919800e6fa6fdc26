"""Intake: a submitted file becomes valid and rejected lines, streamed; nothing is written here."""

from producer.intake.lines import IntakeLimits, Line, RejectedLine, ValidLine, read_lines

__all__ = ["IntakeLimits", "Line", "RejectedLine", "ValidLine", "read_lines"]
