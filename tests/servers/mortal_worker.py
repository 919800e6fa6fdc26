"""The worker with a flaw: a prompt that says "deadly" kills its process, as a crash in native code
would. For tests of poison.
"""

import os
import signal

from shared.deciding.classification.plugged import Classifiers
from shared.deciding.classification.trained import TrainedClassifier
from shared.domain.decisions import Classification
from shared.domain.inference import Request
from worker import bootstrap
from worker.app import app

__all__ = ["app"]


class MortalClassifier(TrainedClassifier):
    def classify(self, request: Request) -> Classification:
        if "deadly" in str(request.messages):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().classify(request)


def _mortal(*_: object) -> Classifiers:
    # Unguarded as a part of ours is: a kill cannot be caught anyway.
    return Classifiers({"*": f"{__name__}:MortalClassifier"})


bootstrap.Classifiers = _mortal  # type: ignore[assignment,misc]
