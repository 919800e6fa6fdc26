"""Decision records are numbered once each, and their heads say the number of their names."""

from pathlib import Path

RECORDS = sorted((Path(__file__).parents[2] / "docs" / "decisions").glob("*.md"))


def test_each_record_has_a_number_of_its_own_without_gaps() -> None:
    assert [int(path.name[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))


def test_each_head_says_the_number() -> None:
    for path in RECORDS:
        assert path.read_text().startswith(f"# {int(path.name[:4])}. "), path.name
