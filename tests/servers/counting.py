"""`python -m tests.servers.counting FOLDER`: counts like a worker, says so, waits for its end."""

import sys
from pathlib import Path

from shared.tallies import Posting
from worker.figures import WorkerFigures


def main() -> None:
    """Two calls, of which one is over."""
    figures = WorkerFigures()
    posting = Posting(Path(sys.argv[1]), figures.tallies)
    figures.sent()
    figures.sent()
    figures.ended("openai", "luna", "answer", 0.3, None)
    figures.climbed("cheap", "mid")
    posting.publish()
    sys.stdout.write("counted\n")
    sys.stdout.flush()
    sys.stdin.read()
    posting.close()


if __name__ == "__main__":
    main()
