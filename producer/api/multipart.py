"""A multipart form with one file, read as it comes: fields are kept, the file's bytes passed on.

Fields and file may come in any order. The part named `file` is the file whether it has a file name
or not. Memory is bounded by the piece that was received last.
"""

from collections.abc import Callable
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from shared.errors import UsageError

FILE: Final = "file"
_MAX_FIELD_BYTES: Final = 1024
_MAX_FIELDS: Final = 16


class MultipartForm:
    """Feed it the body's pieces, then `end` it. `sink` is called with the file's bytes."""

    def __init__(self, content_type: str, sink: Callable[[bytes], None]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise UsageError(
                "send the file as multipart/form-data with a boundary", code="invalid_content_type"
            )
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.has_file = False
        self._sink = sink
        self._is_over = False
        self._name = ""
        self._value = bytearray()
        self._header = bytearray()
        self._header_value = bytearray()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begins,
                    "on_header_field": self._header_name_comes,
                    "on_header_value": self._header_value_comes,
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._data_comes,
                    "on_part_end": self._part_ends,
                    "on_end": self._all_ends,
                },
            )
        except FormParserError:
            raise _broken() from None

    def feed(self, piece: bytes) -> None:
        """Take the next piece; raises UsageError for what is no such form."""
        try:
            self._parser.write(piece)
        except FormParserError:
            raise _broken() from None

    def end(self) -> None:
        """The body is complete; raises UsageError where the form is not."""
        if not self._is_over:
            raise _broken()
        if not self.has_file:
            raise UsageError(
                "Missing required parameter: 'file'.",
                code="missing_required_parameter",
                param=FILE,
            )

    def _part_begins(self) -> None:
        self._name = ""
        self._value.clear()

    def _header_name_comes(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value_comes(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._header_value.decode("latin-1"))
            self._name = _text(options.get(b"name", b""))
            if self._name == FILE and b"filename" in options:
                self.filename = _text(options[b"filename"])
        self._header.clear()
        self._header_value.clear()

    def _headers_end(self) -> None:
        if self._name == FILE:
            if self.has_file:
                raise UsageError("send one file a request", code="invalid_value", param=FILE)
            self.has_file = True
        elif self._name in self.fields or len(self.fields) >= _MAX_FIELDS:
            raise UsageError("a field is there twice, or there are too many", code="invalid_value")

    def _data_comes(self, data: bytes, start: int, end: int) -> None:
        if self._name == FILE:
            self._sink(data[start:end])
            return
        self._value += data[start:end]
        if len(self._value) > _MAX_FIELD_BYTES:
            raise UsageError(
                f"the field has more than {_MAX_FIELD_BYTES} bytes",
                code="invalid_value",
                param=self._name[:64] or None,
            )

    def _part_ends(self) -> None:
        if self._name != FILE:
            self.fields[self._name] = _text(bytes(self._value))

    def _all_ends(self) -> None:
        self._is_over = True


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UsageError("a name or field of the form is not UTF-8", code="invalid_encoding") from (
            None
        )


def _broken() -> UsageError:
    return UsageError("the body is not a complete multipart form", code="invalid_multipart")
