"""The environment: every variable, its default, and what is said about a wrong one."""

import base64
import dataclasses
from typing import Any

import pytest

from service.errors import SettingsError
from service.settings import Settings, documentation

MASTER = base64.b64encode(bytes(32)).decode()


class TestRead:
    def test_nothing_gives_the_defaults(self) -> None:
        assert Settings.from_env({}) == Settings()
        assert Settings.from_env({"TUNEGATE_PORT": "", "TUNEGATE_LOG_LEVEL": ""}) == Settings()

    def test_what_is_not_ours_is_ignored(self) -> None:
        assert Settings.from_env({"PATH": "/bin", "TUNEGATE_UNKNOWN": "1"}) == Settings()

    def test_kinds(self) -> None:
        settings = Settings.from_env(
            {
                "TUNEGATE_PORT": "9000",
                "TUNEGATE_POLL_SECONDS": "0.5",
                "TUNEGATE_WEBHOOK_SCHEDULE": "0, 1,2.5",
                "TUNEGATE_WEBHOOK_ALLOW_PRIVATE": "On",
                "TUNEGATE_MASTER_KEY": MASTER,
            }
        )
        assert (settings.port, settings.poll_seconds) == (9000, 0.5)
        assert settings.webhook_schedule_seconds == (0.0, 1.0, 2.5)
        assert settings.webhook_allow_private is True
        assert settings.master_key_bytes() == bytes(32)

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("TUNEGATE_PORT", "many"),
            ("TUNEGATE_POLL_SECONDS", "soon"),
            ("TUNEGATE_POLL_SECONDS", "0"),
            ("TUNEGATE_POLL_SECONDS", "-1"),
            ("TUNEGATE_POLL_SECONDS", "nan"),
            ("TUNEGATE_POLL_SECONDS", "inf"),
            ("TUNEGATE_MAX_FILE_BYTES", "0"),
            ("TUNEGATE_MAX_FILE_BYTES", "1e6"),
            ("TUNEGATE_WEBHOOK_SCHEDULE", "1,two"),
            ("TUNEGATE_WEBHOOK_SCHEDULE", "1,-2"),
            ("TUNEGATE_WEBHOOK_ALLOW_PRIVATE", "perhaps"),
            ("TUNEGATE_ENVIRONMENT", "staging"),
            ("TUNEGATE_LOG_LEVEL", "loud"),
            ("TUNEGATE_LOG_FORMAT", "xml"),
            ("TUNEGATE_MASTER_KEY", "short"),
            ("TUNEGATE_MASTER_KEY", base64.b64encode(bytes(31)).decode()),
        ],
    )
    def test_a_wrong_one_is_named(self, variable: str, value: str) -> None:
        with pytest.raises(SettingsError, match=variable):
            Settings.from_env({variable: value})


class TestKeptToThemselves:
    def test_secrets_are_in_no_repr(self) -> None:
        secret: dict[str, Any] = {spec.name: "hush" for spec in dataclasses.fields(Settings) if spec.metadata["secret"]}
        assert {"database_url", "upstream_api_key", "master_key", "redis_url"} <= set(secret)
        assert "hush" not in repr(Settings(**secret))


class TestDerived:
    def test_a_control_call_ends_before_its_lease(self) -> None:
        assert Settings(upstream_timeout_seconds=100, lease_seconds=10).control_timeout_seconds < 10
        assert Settings(upstream_timeout_seconds=2, lease_seconds=30).control_timeout_seconds == 2

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
    def test_an_upstream_that_is_ourselves_is_seen(self, host: str) -> None:
        assert Settings(upstream_base_url=f"http://{host}:8080/v1").upstream_is_self(8080)
        assert not Settings(upstream_base_url=f"http://{host}:8081/v1").upstream_is_self(8080)

    def test_the_owner_s_database_is_the_service_s_by_default(self) -> None:
        assert Settings(database_url="a").migration_url == "a"
        assert Settings(database_url="a", owner_database_url="b").migration_url == "b"

    def test_storage_on_disk_has_a_path(self) -> None:
        assert str(Settings(storage_url="file:///x/y").storage_path) == "/x/y"
        assert Settings(storage_url="s3://bucket").storage_path is None


def test_documentation_names_every_setting_once() -> None:
    """The generated docs cannot miss one."""
    names = [row[0] for row in documentation()]
    assert len(set(names)) == len(names) == len(dataclasses.fields(Settings))
    assert all(row[2] for row in documentation())
