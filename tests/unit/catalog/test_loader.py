"""The catalog loads what is right and names what is wrong."""

from fractions import Fraction
from pathlib import Path

import pytest

from shared.catalog.keys import resolve_keys
from shared.catalog.loader import load_catalog
from shared.catalog.price_reading import PRICE_KEYS
from shared.catalog.simulated import SIMULATED_KEY, price_table
from shared.catalog.spec import Catalog, WireName
from shared.domain.inference import TaskType, Tier
from shared.errors import ConfigurationError

SHIPPED = Path(__file__).parents[3] / "catalog.toml"
KEYS = {
    name: "k-" + name
    for name in (
        "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GROQ_API_KEY",
        "DEEPSEEK_API_KEY", "MISTRAL_API_KEY", "COHERE_API_KEY", "OPENROUTER_API_KEY",
    )
}  # fmt: skip
ADDRESSES = {
    "OLLAMA_BASE_URL": "http://localhost:11434/v1",
    "VLLM_BASE_URL": "http://gpu:8000/v1/",
}

PROVIDER = """
[providers.house]
wire = "openai"
base_url = "https://llm.example/v1/"
"""
MODEL = """
[models.small]
provider = "house"
tier = "cheap"
input_usd_per_mtok = 0.1
output_usd_per_mtok = 0.3
"""


def load(tmp_path: Path, text: str, env: dict[str, str] | None = None, url: str = "") -> Catalog:
    path = tmp_path / "some.toml"
    path.write_text(text)
    return load_catalog(path, env or {}, simulator_url=url)


def test_the_shipped_catalog_loads_without_any_key() -> None:
    catalog = load_catalog(SHIPPED, {})
    assert set(catalog.unavailable) == set(catalog.providers)
    assert catalog.unavailable["openai"] == "no key: set OPENAI_API_KEY"
    assert catalog.unavailable["google"] == "no key: set GEMINI_API_KEY or GOOGLE_API_KEY"
    assert catalog.unavailable["ollama"] == "no address: set OLLAMA_BASE_URL"
    assert len(catalog.digest) == 64


def test_the_shipped_catalog_loads_with_every_key_and_address() -> None:
    catalog = load_catalog(SHIPPED, KEYS | ADDRESSES)
    assert dict(catalog.unavailable) == {}
    assert catalog.warnings == ()
    assert catalog.providers["vllm"].base_url == "http://gpu:8000/v1"
    assert resolve_keys(catalog.providers["openai"], KEYS) == ("k-OPENAI_API_KEY",)
    assert all(catalog.models_of(tier) for tier in Tier)
    assert {p.wire for p in catalog.providers.values()} == set(WireName)


def test_the_default_name_means_the_shipped_catalog_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_catalog(Path("catalog.toml"), {}).digest == load_catalog(SHIPPED, {}).digest
    with pytest.raises(ConfigurationError, match=r"other\.toml: there is no such catalog"):
        load_catalog(Path("other.toml"), {})


def test_shipped_prices_are_never_below_the_maintained_list(tmp_path: Path) -> None:
    shipped = load_catalog(SHIPPED, KEYS)
    for name, model in shipped.models.items():
        provider = shipped.providers[model.provider]
        if model.provider in ("ollama", "vllm"):
            continue
        text = f"""
[providers.{provider.name}]
wire = "{provider.wire.value}"
base_url = "{provider.base_url}"
[models.x]
provider = "{provider.name}"
upstream = "{model.upstream}"
tier = "cheap"
""" + ('capabilities = ["embeddings"]' if model.embeds else "")
        from_list = load(tmp_path, text).models["x"].price
        assert [t for t, _ in from_list.above] == [t for t, _ in model.price.above], name
        ours = [model.price.base, *(rates for _, rates in model.price.above)]
        theirs = [from_list.base, *(rates for _, rates in from_list.above)]
        for mine, listed in zip(ours, theirs, strict=True):
            assert mine.input >= listed.input, name
            assert mine.output >= listed.output, name
            assert mine.cached_input >= listed.cached_input, name
            assert mine.cache_write >= listed.cache_write, name
            assert mine.cache_write_1h >= listed.cache_write_1h, name


def test_prices_are_exact(tmp_path: Path) -> None:
    price = load(tmp_path, PROVIDER + MODEL).models["small"].price
    assert price.base.input == 100
    assert price.base.output == 300
    assert price.base.cached_input == price.base.cache_write == price.base.cache_write_1h == 100
    odd = MODEL.replace("0.1\n", "0.0375\n") + "cached_input_usd_per_mtok = 0.00001\n"
    base = load(tmp_path, PROVIDER + odd).models["small"].price.base
    assert (base.input, base.cached_input) == (Fraction(75, 2), Fraction(1, 100))


def test_cache_writes_on_the_anthropic_wire_cost_more_than_input(tmp_path: Path) -> None:
    text = (PROVIDER + MODEL).replace('"openai"', '"anthropic"')
    base = load(tmp_path, text).models["small"].price.base
    assert (base.cache_write, base.cache_write_1h) == (Fraction(125), Fraction(200))


def test_a_price_left_out_comes_from_the_maintained_list(tmp_path: Path) -> None:
    text = """
[providers.anthropic]
wire = "anthropic"
base_url = "https://api.anthropic.com"
[models.haiku]
provider = "anthropic"
upstream = "claude-haiku-4-5"
tier = "cheap"
"""
    model = load(tmp_path, text).models["haiku"]
    assert model.price.base.input == 1000
    assert model.price.base.output == 5000
    assert model.price.base.cached_input == 100
    assert model.price.base.cache_write == 1250
    assert model.price.base.cache_write_1h == 2000
    assert model.price.batch_discount == Fraction(1, 2)
    assert model.context_window == 200_000
    assert model.max_output_tokens == 8192


def test_long_context_prices_come_from_the_list_too(tmp_path: Path) -> None:
    text = """
[providers.vendor]
wire = "anthropic"
base_url = "https://api.anthropic.com"
[models."claude-sonnet-4-5"]
provider = "vendor"
tier = "mid"
"""
    price = load(tmp_path, text).models["claude-sonnet-4-5"].price
    assert [(start, rates.input) for start, rates in price.above] == [(200_000, Fraction(6000))]


def test_a_price_that_changes_with_the_hour_is_taken_at_its_dearest(tmp_path: Path) -> None:
    text = """
[providers.deepseek]
wire = "openai"
base_url = "https://api.deepseek.com/v1"
[models.deepseek-v4-flash]
provider = "deepseek"
tier = "cheap"
"""
    base = load(tmp_path, text).models["deepseek-v4-flash"].price.base
    assert (base.input, base.output) == (Fraction(300), Fraction(1200))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "not valid TOML"),
        ("", "[providers.NAME]"),
        (PROVIDER, "[models.NAME]"),
        (PROVIDER + MODEL + "\n[router]\n", "did you mean 'routing'?"),
        (PROVIDER + "api_key = 1" + MODEL, "api_key is no key of this table; did you mean 'api_ke"),
        (PROVIDER.replace("openai", "opnai") + MODEL, "wire cannot be 'opnai'; did you mean 'open"),
        (PROVIDER.replace("https", "ftp") + MODEL, "must be an http or https address"),
        (PROVIDER + "rpm = -5" + MODEL, "[providers.house] rpm must be at least 1"),
        (PROVIDER + "rpm = true" + MODEL, "rpm must be a whole number"),
        (PROVIDER + "api_keys = []" + MODEL, "is empty; leave it out"),
        (PROVIDER + 'api_keys = ["env:A B"]' + MODEL, "must name a variable after env:"),
        (PROVIDER + 'headers = {a = "x\\r\\ny"}' + MODEL, "a string of one line"),
        (PROVIDER + "timeout_s = 0" + MODEL, "timeout_s must be more than 0"),
        (PROVIDER + MODEL.replace("house", "hause"), "'hause' is not defined; did you mean 'house"),
        (PROVIDER + MODEL.replace("cheap", "chaep"), "tier cannot be 'chaep'; did you mean 'che"),
        (PROVIDER + MODEL.replace("0.1", "-0.1"), 'models."small"] input_usd_per_mtok must lie'),
        (PROVIDER + MODEL.replace("0.1", "nan"), "must lie between"),
        (PROVIDER + MODEL.replace("0.1", "inf"), "must lie between"),
        (PROVIDER + MODEL.replace("0.1", "1e-99999999"), "more than twelve decimal places"),
        (PROVIDER + MODEL.replace("0.1", '"0.1"'), "must be a number"),
        (PROVIDER + MODEL.replace("input_usd", "inputt_usd"), "did you mean 'input_usd_per_mtok'?"),
        (PROVIDER + MODEL.replace("output_usd", "cache_write_usd"), "output_usd_per_mtok is miss"),
        (PROVIDER + MODEL.replace(".small", ".auto"), "needs another name"),
        (PROVIDER + MODEL.replace(".small", ".mid"), "needs another name"),
        (PROVIDER + MODEL.replace(".small", '."a b"'), "needs another name"),
        (PROVIDER + MODEL + 'tokenizer = "o200k"', "did you mean 'o200k_base'?"),
        (PROVIDER + MODEL + 'capabilities = ["tool"]', "did you mean 'tools'?"),
        (PROVIDER + MODEL + 'strengths = ["code"]', "did you mean 'coding'?"),
        (PROVIDER + MODEL + 'strengths = ["coding", "coding"]', "names something twice"),
        (PROVIDER + MODEL + "quality = 1.5", "quality must lie between 0 and 1"),
        (PROVIDER + MODEL + "batch_discount = 2", "batch_discount must lie between 0 and 1"),
        (PROVIDER + MODEL + "context_window = 0", "context_window must be at least 1"),
        (PROVIDER + MODEL + "above = [{input_tokens = 5}]", "input_usd_per_mtok is missing"),
        (PROVIDER + MODEL + '[routing]\nladder = ["high", "cheap"]', "rising order"),
        (PROVIDER + MODEL + "[routing]\nladder = []", "rising order"),
        (PROVIDER + MODEL + "[routing]\nmax_climbs = -1", "max_climbs must be at least 0"),
        ("providers = 5\n" + MODEL, "at least one table"),
        ("[providers]\nhouse = 5\n" + MODEL, "[providers.house] must be a table"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load(tmp_path, text)
    assert message in str(refusal.value)
    assert "some.toml" in str(refusal.value)


def test_an_unknown_price_is_refused_and_the_model_named(tmp_path: Path) -> None:
    text = PROVIDER + '[models.mystery]\nprovider = "house"\nupstream = "m-1"\ntier = "cheap"\n'
    with pytest.raises(ConfigurationError, match=r"mystery.*no list price of 'm-1'.*0 for a free"):
        load(tmp_path, text)


def test_steps_of_long_context_prices_must_rise(tmp_path: Path) -> None:
    step = "{input_tokens = 9, input_usd_per_mtok = 1, output_usd_per_mtok = 1}"
    with pytest.raises(ConfigurationError, match=r"above, 2.*input_tokens must be more"):
        load(tmp_path, PROVIDER + MODEL + f"above = [{step}, {step}]")


def test_a_host_without_keys_is_available_and_has_the_documented_defaults(tmp_path: Path) -> None:
    catalog = load(tmp_path, PROVIDER + MODEL)
    assert dict(catalog.unavailable) == {}
    assert resolve_keys(catalog.providers["house"], {}) == ()
    assert catalog.providers["house"].base_url == "https://llm.example/v1"
    assert catalog.models["small"].context_window == 128_000
    assert catalog.models["small"].max_output_tokens == 8192
    assert catalog.models["small"].upstream == "small"


def test_one_of_several_keys_is_enough_and_a_blank_one_is_none(tmp_path: Path) -> None:
    text = PROVIDER + 'api_keys = ["env:A", "env:B", "env:C"]' + MODEL
    assert dict(load(tmp_path, text, {"A": " "}).unavailable) == {
        "house": "no key: set A or B or C"
    }
    env = {"A": "one", "B": " two ", "C": "one"}
    catalog = load(tmp_path, text, env)
    assert dict(catalog.unavailable) == {}
    assert resolve_keys(catalog.providers["house"], env) == ("one", "two")


def test_a_key_in_the_file_works_is_warned_about_and_never_shown(tmp_path: Path) -> None:
    catalog = load(tmp_path, PROVIDER + 'api_keys = ["sk-secret"]' + MODEL)
    assert resolve_keys(catalog.providers["house"], {}) == ("sk-secret",)
    assert "environment" in catalog.warnings[0]
    assert "sk-secret" not in repr(catalog) + "".join(catalog.warnings)


def test_strengths_and_optional_provider_keys_are_read(tmp_path: Path) -> None:
    text = (
        PROVIDER
        + 'drop_params = ["seed"]\nmax_tokens_field = "max_completion_tokens"\ntimeout_s = 2.5\n'
        + 'headers = {"x-title" = "mill"}\nmax_concurrency = 4\nrpm = 60\ntpm = 1000'
        + MODEL
        + 'strengths = ["coding"]\ncapabilities = ["json"]\ntokenizer = "qwen3"\n'
    )
    catalog = load(tmp_path, text)
    house, small = catalog.providers["house"], catalog.models["small"]
    assert (house.drop_params, house.timeout_s, house.rpm) == (("seed",), 2.5, 60)
    assert dict(house.headers) == {"x-title": "mill"}
    assert small.strengths == (TaskType.CODING,)
    assert small.capabilities == {"json"}


def test_simulated_every_vendor_is_there_and_no_real_address_is_left() -> None:
    catalog = load_catalog(SHIPPED, {}, simulator_url="http://127.0.0.1:9/")
    assert set(catalog.unavailable) == {"ollama", "vllm"}
    assert catalog.providers["openai"].base_url == "http://127.0.0.1:9/openai/v1"
    assert catalog.providers["google"].base_url == "http://127.0.0.1:9/google"
    for provider in catalog.providers.values():
        assert provider.base_url.startswith("http://127.0.0.1:9/")
        assert resolve_keys(provider, KEYS) == (SIMULATED_KEY,)
        assert (provider.rpm, provider.tpm, provider.max_concurrency) == (None, None, None)
    assert {model.tokenizer for model in catalog.models.values()} == {None}


def test_a_local_host_with_an_address_is_simulated_like_the_others() -> None:
    catalog = load_catalog(SHIPPED, ADDRESSES, simulator_url="http://127.0.0.1:9")
    assert dict(catalog.unavailable) == {}


def test_the_price_table_is_the_catalogs_to_the_last_digit(tmp_path: Path) -> None:
    shipped = load_catalog(SHIPPED, {})
    table = price_table(shipped)["models"]
    assert set(table) == {model.upstream for model in shipped.models.values()}
    lines = [PROVIDER]
    for upstream, entry in table.items():
        lines.append(f'[models."{upstream}"]\nprovider = "house"\ntier = "cheap"')
        lines += [f"{key} = {entry[key]}" for key in PRICE_KEYS]
        steps = (
            ", ".join(f"{key} = {value}" for key, value in step.items())
            for step in entry.get("above", [])
        )
        lines.append("above = [" + ", ".join(f"{{{step}}}" for step in steps) + "]")
    again = load(tmp_path, "\n".join(lines))
    for model in shipped.models.values():
        copy = again.models[model.upstream].price
        assert (copy.base, copy.above) == (model.price.base, model.price.above)
