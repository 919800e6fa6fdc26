"""What schemathesis has to be told of this API: how JSONL is written."""

import json

import schemathesis
from hypothesis import strategies as st

_LINES = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"prompt": st.text(max_size=30)},
            optional={
                "custom_id": st.text(max_size=8),
                "model": st.sampled_from(["auto", "tiny", "high", "no-such-model"]),
                "max_tokens": st.integers(-1, 100),
                "temperature": st.floats(allow_nan=False),
            },
        ),
        st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=3),
        st.integers(),
    ),
    max_size=4,
)
_JSONL = _LINES.map(lambda lines: "\n".join(map(json.dumps, lines)).encode())

for kind in ("application/x-ndjson", "application/jsonl", "application/x-jsonlines"):
    schemathesis.openapi.media_type(kind, _JSONL)
