"""Where requests for embeddings go: to one model that embeds, and never prompts to such a model."""

from pathlib import Path
from typing import Any

import pytest

from shared.catalog.loader import load_catalog
from shared.catalog.spec import Catalog
from shared.deciding.routing import cheaper_rungs, route
from shared.deciding.routing_policy import RoutingPolicy
from shared.domain.decisions import UNCLASSIFIED, NoRoute, Route
from shared.domain.inference import Constraints, Request
from shared.errors import ConfigurationError

HEAD = """
[providers.acme]
wire = "openai"
base_url = "http://127.0.0.1:9/v1"
[providers.other]
wire = "gemini"
base_url = "http://127.0.0.1:9"
"""


def model(name: str, tier: str, price: str, *more: str, provider: str = "acme") -> str:
    lines = [f'[models."{name}"]', f'provider = "{provider}"', f'tier = "{tier}"']
    lines += [f"input_usd_per_mtok = {price}", "output_usd_per_mtok = 0", *more]
    return "\n".join(lines) + "\n"


EMBEDS = 'capabilities = ["embeddings"]'


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    file = tmp_path / "catalog.toml"
    small = ("context_window = 100", EMBEDS)
    file.write_text(
        HEAD
        + model("talker", "cheap", "0.001")
        + model("dear", "cheap", "0.3", "quality = 0.9", EMBEDS)
        + model("fair", "cheap", "0.02", *small)
        + model("wide", "mid", "0.2", "context_window = 8000", EMBEDS)
    )
    return load_catalog(file, {})


def asking(given: Any = "a text", **fields: Any) -> Request:
    return Request((), embed={"input": given}, **fields)


def chosen(request: Request, catalog: Catalog, **policy: Any) -> str:
    found = route(request, UNCLASSIFIED, catalog, RoutingPolicy(**policy))
    assert isinstance(found, Route), found
    assert [rung.models for rung in found.rungs] == [(found.first_model,)]
    assert found.max_climbs == 0
    assert cheaper_rungs(found, catalog) == ()
    return found.first_model


def test_one_model_is_chosen_by_the_wish_and_nothing_stands_behind_it(catalog: Catalog):
    assert chosen(asking(), catalog) == "fair"
    assert chosen(asking(model="cheapest"), catalog) == "fair"
    assert chosen(asking(model="best"), catalog) == "dear"
    assert chosen(asking(model="mid"), catalog) == "wide"
    assert chosen(asking(model="dear"), catalog) == "dear"
    assert chosen(asking(), catalog, allowed_models=("wide", "talker")) == "wide"
    limits = Constraints(allowed_models=("dear", "wide"))
    assert chosen(asking(constraints=limits), catalog) == "wide"


def test_each_input_is_held_against_the_window_by_itself(catalog: Catalog):
    assert chosen(asking(["x" * 300] * 50), catalog) == "fair"
    assert chosen(asking(["x" * 3000]), catalog) == "wide"
    assert chosen(asking([[1] * 101]), catalog) == "wide"


@pytest.mark.parametrize(
    "request_",
    [
        asking(model="talker"),
        asking(model="high"),
        asking(["x" * 10**6], model="fair"),
        asking(constraints=Constraints(max_cost_nusd=1)),
    ],
)
def test_without_a_fitting_model_there_is_no_route(catalog: Catalog, request_: Request):
    found = route(request_, UNCLASSIFIED, catalog, RoutingPolicy())
    assert isinstance(found, NoRoute)
    assert found.code == "no_model"


@pytest.mark.parametrize("wish", ["auto", "cheapest", "best", "cheap", "mid", "wide"])
def test_a_prompt_is_never_sent_to_a_model_that_embeds(catalog: Catalog, wish: str):
    prompt = Request(({"role": "user", "content": "Hello"},), model=wish)
    found = route(prompt, UNCLASSIFIED, catalog, RoutingPolicy())
    if isinstance(found, Route):
        assert {name for rung in found.rungs for name in rung.models} == {"talker"}
        assert not dict(found.excluded).keys() & {"dear", "fair"}
    else:
        assert "no_model" in found.code
    assert catalog.strongest is not None
    assert catalog.strongest.name == "talker"


@pytest.mark.parametrize(
    "entry",
    [
        model("x", "cheap", "1", 'capabilities = ["embeddings", "json"]'),
        model("x", "cheap", "1", EMBEDS, provider="other"),
    ],
)
def test_a_catalog_that_mixes_embeddings_with_something_else_is_refused(tmp_path: Path, entry: str):
    file = tmp_path / "catalog.toml"
    file.write_text(HEAD + entry)
    with pytest.raises(ConfigurationError, match="embeddings"):
        load_catalog(file, {})
