"""Profiles, and which gateway a command calls."""

import json
import stat
from pathlib import Path

import pytest

from cli.gateway import Gateway
from cli.profiles import Profile, Profiles, load, profiles_file, save
from service.errors import SettingsError

URL = "http://127.0.0.1:8080/v1"
WORK = Profile(base_url="https://tunegate.example/v1", api_key="tg_live_work")
HOME = Profile(base_url=URL, api_key="tg_live_home", admin_key="tg_admin_home")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with two profiles, of which `home` is the current one."""
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    save(profiles_file(environ), Profiles().with_profile("work", WORK).with_profile("home", HOME))
    return environ


class TestTheFile:
    def test_is_read_as_it_was_written(self, environ: dict[str, str]) -> None:
        assert load(profiles_file(environ)) == Profiles(current="home", by_name={"work": WORK, "home": HOME})

    def test_is_the_owner_s_alone(self, environ: dict[str, str]) -> None:
        file = profiles_file(environ)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700

    def test_that_others_may_read_is_refused(self, environ: dict[str, str]) -> None:
        file = profiles_file(environ)
        file.chmod(0o640)
        with pytest.raises(SettingsError, match="chmod 600"):
            load(file)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"current": "a", "profiles": {"a": {"url": "b"}}}', "\0"])
    def test_of_another_kind_is_refused_in_words(self, environ: dict[str, str], text: str) -> None:
        profiles_file(environ).write_text(text)
        with pytest.raises(SettingsError, match="no file of profiles"):
            load(profiles_file(environ))

    def test_that_is_missing_has_no_profile(self, tmp_path: Path) -> None:
        assert load(tmp_path / "profiles.json") == Profiles()

    def test_never_shows_a_key_in_a_message(self) -> None:
        assert "tg_" not in repr(Profiles().with_profile("home", HOME))

    def test_without_the_current_profile_another_is_current(self, environ: dict[str, str]) -> None:
        left = load(profiles_file(environ)).without("home")
        assert left == Profiles(current="work", by_name={"work": WORK})
        assert left.without("work") == Profiles()


class TestTheGateway:
    def test_of_the_current_profile(self, environ: dict[str, str]) -> None:
        assert Gateway.found(environ, None) == Gateway(
            base_url=URL, api_key="tg_live_home", admin_key="tg_admin_home", origin="The profile home"
        )

    def test_of_the_environment_comes_before_profiles(self, environ: dict[str, str]) -> None:
        found = Gateway.found(environ | {"OPENAI_BASE_URL": URL, "OPENAI_API_KEY": "tg_live_env"}, None)
        assert (found.api_key, found.admin_key, found.origin) == ("tg_live_env", "", "The environment")

    def test_a_key_alone_selects_nothing(self, environ: dict[str, str]) -> None:
        assert Gateway.found(environ | {"OPENAI_API_KEY": "sk-provider"}, None).api_key == "tg_live_home"

    def test_of_a_named_profile_comes_before_the_environment(self, environ: dict[str, str]) -> None:
        chosen = environ | {"OPENAI_BASE_URL": URL, "OPENAI_API_KEY": "tg_live_env"}
        assert Gateway.found(chosen, None, "work").api_key == "tg_live_work"

    def test_of_the_variable_comes_before_the_current_profile(self, environ: dict[str, str]) -> None:
        assert Gateway.found(environ | {"TUNEGATE_PROFILE": "work"}, None).api_key == "tg_live_work"

    def test_of_a_ready_file_comes_first(self, environ: dict[str, str], tmp_path: Path) -> None:
        ready = tmp_path / "ready.json"
        ready.write_text(json.dumps({"base_url": URL, "api_key": "tg_live_ready", "admin_key": "tg_admin_ready"}))
        assert Gateway.found(environ, ready, "work").api_key == "tg_live_ready"

    def test_of_an_unknown_profile_names_the_known_ones(self, environ: dict[str, str]) -> None:
        with pytest.raises(SettingsError, match=r"no profile 'wrok' \(home, work\)"):
            Gateway.found(environ, None, "wrok")

    def test_of_nothing_says_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="tunegate login"):
            Gateway.found({"XDG_CONFIG_HOME": str(tmp_path)}, None)

    @pytest.mark.parametrize(
        "url", ["127.0.0.1:8080", "ftp://a.example/v1", "https://", "http://[::1", "http://a:99999"]
    )
    def test_that_is_no_url_is_refused(self, url: str, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="it must be http"):
            Gateway.found({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"}, None)

    def test_without_a_key_says_which_is_missing(self) -> None:
        with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
            Gateway(base_url=URL).project_key()
        with pytest.raises(SettingsError, match="OPENAI_ADMIN_KEY"):
            Gateway(base_url=URL).organization_key()

    def test_a_key_that_no_header_can_have_is_refused(self) -> None:
        with pytest.raises(SettingsError, match="characters that no key has"):
            Gateway.found({"OPENAI_BASE_URL": URL, "OPENAI_API_KEY": "tg_live_a\nb"}, None)
