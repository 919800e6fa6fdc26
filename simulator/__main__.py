"""`python -m simulator`: a fake provider on one port, with its own bill."""

import tomllib
from pathlib import Path
from typing import Annotated

import typer

from simulator.app import SimulatedProvider
from simulator.fields import ScenarioError
from simulator.prices import PriceTable, PriceTableError, read_prices
from simulator.scenario import Scenario, read_scenario
from simulator.server import run


def main(
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 0,
    host: str = "127.0.0.1",
    scenario: Annotated[Path | None, typer.Option(help="a .toml or .json file")] = None,
    prices: Annotated[Path | None, typer.Option(help="a catalog.toml")] = None,
    ready_file: Annotated[Path | None, typer.Option(help="gets the URL when ready")] = None,
    *,
    keep_prompts: Annotated[bool, typer.Option(help="show prompts in the list of calls")] = False,
) -> None:
    """Serve OpenAI, Anthropic, Gemini and Cohere wires until SIGTERM or SIGINT."""
    try:
        provider = SimulatedProvider(
            read_prices(prices) if prices else PriceTable(),
            read_scenario(scenario) if scenario else Scenario(),
            keep_prompts=keep_prompts,
        )
        run(provider.handle, "simulator", host, port, ready_file)
    except (ScenarioError, PriceTableError, tomllib.TOMLDecodeError, OSError) as error:
        typer.echo(f"simulator: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
