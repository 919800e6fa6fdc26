"""Tables become input lines: columns as variables or fields, rows under their own numbers."""

import io
import json
import sys
import tracemalloc
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from producer.client import tables
from producer.client.tables import TableError, table_lines
from producer.intake import IntakeLimits, RejectedLine, read_lines
from producer.intake.lines import NATIVE_FIELDS
from producer.intake.templates import Template, parse_template

GREET = parse_template({"prompt": "Hi {{ name }}", "model": "mid"}, NATIVE_FIELDS)


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines_of(
    source: Any, template: str | Template | None = None, **defaults: object
) -> list[dict[str, Any]]:
    return [json.loads(line) for line in table_lines(source, template, defaults) if line.strip()]


def test_columns_are_variables_and_custom_id_names_the_line(tmp_path: Path):
    table = written(tmp_path, "t.csv", '\ufeffname,custom_id,model\nAda,a,T\n\n"Bo\nb",,\n')
    assert lines_of(table, "greet@2", max_tokens=9) == [
        {
            "template": "greet@2",
            "vars": {"name": "Ada", "custom_id": "a", "model": "T"},
            "max_tokens": 9,
            "custom_id": "a",
        },
        {
            "template": "greet@2",
            "vars": {"name": "Bo\nb", "custom_id": "", "model": ""},
            "max_tokens": 9,
        },
    ]


def test_a_template_of_this_machine_is_filled_here_and_options_go_before_it(tmp_path: Path):
    table = written(tmp_path, "t.tsv", "name\tother\nAda\tx\n")
    assert lines_of(table, GREET) == [{"prompt": "Hi Ada", "model": "mid"}]
    assert lines_of(table, GREET, model="high") == [{"prompt": "Hi Ada", "model": "high"}]


def test_without_a_template_columns_are_fields_and_empty_cells_are_left_out(tmp_path: Path):
    head = "prompt,custom_id,model,max_tokens,temperature,constraints\n"
    rows = '12,7,,5,,"{""min_tier"": ""mid""}"\nx,,cheap,lots,0.5,\n'
    table = written(tmp_path, "t.CSV", head + rows)
    assert lines_of(table, model="auto") == [
        {
            "model": "auto",
            "prompt": "12",
            "custom_id": "7",
            "max_tokens": 5,
            "constraints": {"min_tier": "mid"},
        },
        {"prompt": "x", "model": "cheap", "max_tokens": "lots", "temperature": 0.5},
    ]


def test_a_row_without_a_value_is_refused_under_its_number_and_the_rest_runs(tmp_path: Path):
    content = '{"name": "Ada", "custom_id": 1}\n\n{"nam": "Bo"}\nnonsense\n{"name": null}\n'
    table = written(tmp_path, "t.jsonl", content)
    taken = list(read_lines(table_lines(table, GREET), IntakeLimits(), ()))
    assert [line.line for line in taken] == [1, 3, 4, 5]
    bad = [line for line in taken if isinstance(line, RejectedLine)]
    assert [(line.line, line.field, line.code) for line in bad] == [
        (3, "vars.name", "missing_variable"),
        (4, None, "invalid_json_line"),
        (5, "vars.name", "missing_variable"),
    ]
    assert taken[0].custom_id == "1"


def test_defaults_go_into_native_lines_that_say_nothing_themselves():
    body = {"model": "auto", "messages": [{"role": "user", "content": "a"}]}
    openai = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    rows = [{"prompt": "a"}, {"prompt": "b", "model": "high"}, openai]
    source = io.BytesIO(b"\n".join(json.dumps(row).encode() for row in rows))
    read = lines_of(source, model="cheap")
    assert [line.get("model") for line in read] == ["cheap", "high", None]
    assert read[2] == openai


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no header"),
        ("name,name\na,b\n", "'name' twice"),
        ("name,b\na,b\nc\n", r"row 2 \(line 3\) has 1 cells, the header has 2"),
        ("name\na\nb,c\n", r"row 2 \(line 3\) has 2 cells"),
        ('name\na\n"b\n', "row 2"),
        (b"name\ncaf\xe9\n", "not UTF-8"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused_as_a_whole(
    tmp_path: Path, content: str | bytes, message: str
):
    with pytest.raises(TableError, match=message):
        lines_of(written(tmp_path, "t.csv", content), "greet")


def test_a_column_that_is_no_field_asks_for_a_template(tmp_path: Path):
    with pytest.raises(TableError, match=r"'country' is no field.*--template"):
        lines_of(written(tmp_path, "t.csv", "prompt,country\na,b\n"))


def parquet(tmp_path: Path, columns: dict[str, list[Any]], rows: int = 2) -> Path:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def test_parquet_rows_are_read_with_their_types(tmp_path: Path):
    table = parquet(
        tmp_path,
        {
            "custom_id": [1, 2, 3],
            "name": ["Ada", None, "Cy"],
            "born": [date(1815, 12, 10), None, None],
            "price": [Decimal("1.50"), None, None],
            "list": [[1, 2], None, None],
        },
    )
    template = parse_template("{{ name }} {{ born }} {{ price }} {{ list }}", NATIVE_FIELDS)
    first, second, third = table_lines(table, template)
    assert json.loads(first) == {"prompt": "Ada 1815-12-10 1.50 [1,2]", "custom_id": "1"}
    assert json.loads(second)["vars"]["name"] is None
    assert json.loads(third)["custom_id"] == "3"


def test_a_parquet_file_that_is_none_or_holds_bytes_is_refused(tmp_path: Path):
    with pytest.raises(TableError, match="after row 0"):
        lines_of(written(tmp_path, "x.parquet", "nothing"), "greet")
    with pytest.raises(TableError, match=r"row 2 .*bytes"):
        lines_of(parquet(tmp_path, {"name": [None, b"\xff"]}), "greet")


def test_parquet_without_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    table = parquet(tmp_path, {"name": ["a"]})
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(TableError, match=r"promptmill\[parquet\]"):
        lines_of(table, "greet")


def test_a_long_table_is_never_held_in_memory(tmp_path: Path):
    path = tmp_path / "long.csv"
    with path.open("w") as file:
        file.write("name\n")
        for number in range(40_000):
            file.write(f"{number:0400d}\n")  # 16 MB
    tracemalloc.start()
    try:
        rows = sum(1 for _ in table_lines(path, GREET))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == 40_000
    assert peak < 2_000_000


def test_every_text_field_is_a_field():
    assert tables._TEXTS <= NATIVE_FIELDS
