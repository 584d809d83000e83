"""The shipped catalogue, and what is made of a bad one."""

import datetime as dt
from pathlib import Path

import pytest

from service.billing.price_list import inference_price_on
from service.catalogue.base_models import provider_of
from service.catalogue.lookup import known_model
from service.catalogue.models_file import SHIPPED, load
from service.errors import InvalidRequest, SettingsError

CATALOGUE = load()
AUTUMN_2026 = dt.date(2026, 10, 1)


class TestShipped:
    def test_names_and_aliases_are_unique(self) -> None:
        every = [name for model in CATALOGUE.models for name in (model.name, *model.aliases)]
        assert len(set(every)) == len(every)
        assert CATALOGUE.names() == every

    def test_every_model_can_be_trained_and_priced(self) -> None:
        for model in CATALOGUE.models:
            assert model.methods
            assert model.formats
            assert model.encoding in ("o200k_base", "cl100k_base")
            assert (model.training_micros(AUTUMN_2026) is None) == bool(model.training_hour)
            for tuned in (True, False):
                assert inference_price_on(model, [], AUTUMN_2026, tuned=tuned) is not None
            assert model.max_output_tokens > 0

    def test_an_alias_is_its_model(self) -> None:
        assert CATALOGUE.find("gpt-4o-mini") is CATALOGUE.find("gpt-4o-mini-2024-07-18") is CATALOGUE.default
        assert CATALOGUE.find("gpt-9") is None

    def test_a_price_begins_on_its_day(self) -> None:
        model = CATALOGUE.find("gpt-4o")
        assert model is not None
        assert model.training_micros(dt.date(2024, 8, 19)) is None
        assert model.training_micros(dt.date(2024, 8, 20)) == 25_000_000

    def test_shutdowns_are_openai_s_and_not_a_trainer_s(self) -> None:
        after = dt.date(2027, 1, 7)
        assert "gpt-4o" in CATALOGUE.trainable_names("openai", dt.date(2027, 1, 6))
        assert "gpt-4o" not in CATALOGUE.trainable_names("openai", after)
        assert CATALOGUE.trainable_names("self-hosted", after) == CATALOGUE.names()

    def test_provider_goes_by_the_host(self) -> None:
        assert provider_of("https://api.openai.com/v1") == "openai"
        assert provider_of("http://127.0.0.1:8090/v1") == "self-hosted"


class TestOwn:
    def test_a_file_replaces_it(self, tmp_path: Path) -> None:
        file = tmp_path / "models.toml"
        file.write_text(
            'default_model = "tiny"\n[[models]]\nname = "tiny"\nencoding = "o200k_base"\nmax_tokens = 8\n'
            'methods = ["supervised"]\nformats = ["chat"]\n'
        )
        assert load(str(file)).names() == ["tiny"]

    @pytest.mark.parametrize(
        "content",
        ["", "default_model = 1", 'default_model = "x"\nmodels = []', SHIPPED.read_text().replace("micros", "macros")],
    )
    def test_a_bad_one_is_refused_by_name(self, tmp_path: Path, content: str) -> None:
        file = tmp_path / "models.toml"
        file.write_text(content)
        with pytest.raises(SettingsError, match=r"models\.toml|default model"):
            load(str(file))

    def test_a_missing_one_too(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="cannot be read"):
            load(str(tmp_path / "none.toml"))


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    """The message helps."""
    with pytest.raises(InvalidRequest, match="davinci-002") as refused:
        known_model(CATALOGUE, "gpt-9")
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")
