"""`promptmill up`: everything on this machine, until Ctrl-C."""

from producer.local.mill import Mill, MillOptions, running_mill, watch_until_stopped
from producer.local.services import FLOWER_USER
from producer.local.supervisor import Say, Stopped
from shared.settings import Settings

SIMULATED = (
    "SIMULATED: every answer comes from a simulator on this machine; they are made up, no money is "
    "spent.\nTo use real models, set a provider's key (OPENAI_API_KEY, ANTHROPIC_API_KEY, ...)."
)


def up(settings: Settings, options: MillOptions, say: Say) -> int:
    """Run until SIGINT or SIGTERM; the exit code. `say` gets the lines for people.

    Raises ConflictError, ConfigurationError or UnavailableError when it cannot start.
    """
    say(f"Promptmill starts in {settings.home_dir}")
    try:
        with running_mill(settings, options, say) as mill:
            for line in addresses(mill, settings):
                say(line)
            say("Ctrl-C stops everything.")
            watch_until_stopped(mill)
            say("Stopping: calls in flight are finished or handed back ...")
    except Stopped:
        say("Stopped while it was starting.")
        return 0
    say("Stopped.")
    return 0


def addresses(mill: Mill, settings: Settings) -> list[str]:
    """Where everything is, for people."""
    lines = [
        "",
        f"  Console    {mill.api_url}/console  (log in with the admin key or a project's)",
        f"  API        {mill.api_url}/v1",
        f"  API docs   {mill.api_url}/docs",
        f"  Flower     {mill.flower_url}  (user {FLOWER_USER}, password: the admin key)",
        f"  Admin key  {_key_place(settings)}",
        f"  Logs       {settings.home_dir / 'logs'}",
        "",
    ]
    if mill.simulator_url:
        lines += [SIMULATED, ""]
    return lines


def _key_place(settings: Settings) -> str:
    if settings.admin_key is not None:
        return "as PROMPTMILL_ADMIN_KEY says"
    return f"in {settings.admin_key_file}"
