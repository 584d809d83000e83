"""What the processes of a dev stack find in their environment."""

from pathlib import Path

import pytest

from cli import environment
from service.settings import Settings


def for_service(environ: dict[str, str]) -> dict[str, str]:
    return environment.for_service(
        environ,
        database_url="postgresql://service@h/db",
        owner_database_url="postgresql://owner@h/db",
        redis_url="redis://h",
        upstream=("http://127.0.0.1:1/v1", "trainer-key"),
        master_key="A" * 43 + "=",
        storage=Path("/data/storage"),
        host="127.0.0.1",
        port=8080,
    )


class TestUpstream:
    def test_both_select_it(self) -> None:
        environ = {"OPENAI_BASE_URL": "https://up/v1", "OPENAI_API_KEY": "sk"}
        assert environment.external_upstream(environ) == ("https://up/v1", "sk")

    @pytest.mark.parametrize(
        "environ",
        [
            {},
            {"OPENAI_API_KEY": "sk"},
            {"OPENAI_BASE_URL": "https://up/v1"},
            {"OPENAI_BASE_URL": "", "OPENAI_API_KEY": "sk"},
        ],
    )
    def test_one_alone_selects_nothing(self, environ: dict[str, str]) -> None:
        assert environment.external_upstream(environ) is None


class TestService:
    def test_it_makes_valid_settings_for_dev(self) -> None:
        settings = Settings.from_env(for_service({}))
        assert settings.environment == "dev"
        assert settings.storage_path == Path("/data/storage")
        assert (settings.poll_seconds, settings.webhook_allow_private) == (1.0, True)
        assert settings.upstream_api_key == "trainer-key"

    def test_what_the_caller_set_wins_over_dev_s_defaults(self) -> None:
        given = {
            "TUNEGATE_POLL_SECONDS": "7",
            "TUNEGATE_WEBHOOK_ALLOW_PRIVATE": "false",
            "TUNEGATE_SETTLE_SECONDS": "2",
        }
        settings = Settings.from_env(for_service(given))
        assert (settings.poll_seconds, settings.webhook_allow_private, settings.settle_seconds) == (7.0, False, 2.0)

    def test_but_not_over_where_the_stack_is(self) -> None:
        made = for_service({"TUNEGATE_ENVIRONMENT": "production", "TUNEGATE_PORT": "1", "DATABASE_URL": "elsewhere"})
        assert made["TUNEGATE_ENVIRONMENT"] == "dev"
        assert made["TUNEGATE_PORT"] == "8080"
        assert made["DATABASE_URL"] == "postgresql://service@h/db"

    def test_what_the_sdk_and_libpq_read_by_themselves_stays_outside(self) -> None:
        around = {
            "OPENAI_ORG_ID": "org",
            "OPENAI_CUSTOM_HEADERS": "x: y",
            "PGSERVICE": "prod",
            "SECRET_OF_THE_SHELL": "s",
        }
        assert not set(around) & set(for_service(around))


class TestTrainer:
    def test_it_gets_its_own_variables_and_no_secret_of_the_service(self) -> None:
        around = {
            "TUNEGATE_MASTER_KEY": "m",
            "AWS_SECRET_ACCESS_KEY": "s",
            "TRAINER_PACE_SECONDS": "0.5",
            "OPENAI_API_KEY": "k",
        }
        made = environment.for_trainer(around, key="trainer-key", encodings=Path("/encodings"))
        assert made["TRAINER_API_KEY"] == "trainer-key"
        assert made["TRAINER_PACE_SECONDS"] == "0.5"
        assert made["TIKTOKEN_CACHE_DIR"] == "/encodings"
        assert not {"TUNEGATE_MASTER_KEY", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY"} & set(made)


def test_this_machine_is_never_reached_by_a_proxy() -> None:
    made = environment.inherited({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "intranet"})
    assert made["HTTPS_PROXY"] == "http://proxy:3128"
    assert made["NO_PROXY"] == "intranet,127.0.0.1,localhost,::1"
