"""The examples of docs/client.md, as they stand there, against a running mill."""

import re
import subprocess
import sys

from tests.acceptance.whole_mill import ROOT, WholeMill


def test_the_examples_of_the_clients_page_run(mill: WholeMill) -> None:
    page = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    assert len(examples) == 4
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(examples)],
        env=mill.env,
        cwd=mill.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "1 of 1" in done.stdout
    assert re.search(r"^\S.*: \d+ nUSD$", done.stdout, flags=re.MULTILINE)
    assert "Counts(total=2" in done.stdout
    assert mill.simulator.bill()["total_nusd"] > 0
