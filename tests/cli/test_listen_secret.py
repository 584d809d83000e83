"""The signing secret of `tunegate listen`: the same at each run, for its owner alone."""

from pathlib import Path

import pytest

from cli.listen_secret import load_or_create, secret_file
from service.errors import SettingsError

HERE = "http://127.0.0.1:8080/v1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return secret_file(tmp_path / "tunegate", HERE, "proj_1")


def test_it_is_made_once(file: Path) -> None:
    secret = load_or_create(file)
    assert secret.startswith("whsec_")
    assert load_or_create(file) == secret
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_new_one_replaces_it(file: Path) -> None:
    secret = load_or_create(file)
    replaced = load_or_create(file, new=True)
    assert replaced != secret
    assert load_or_create(file) == replaced


def test_each_gateway_and_each_project_has_its_own(tmp_path: Path) -> None:
    files = {
        secret_file(tmp_path, base_url, project)
        for base_url in (HERE, "https://tunegate.example.com/v1")
        for project in ("proj_1", "proj_2")
    }
    assert len({load_or_create(file) for file in files}) == 4


def test_one_that_others_may_read_is_refused(file: Path) -> None:
    load_or_create(file)
    file.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_or_create(file)


@pytest.mark.parametrize("content", [b"", b"tg_live_1", b"\xff"])
def test_what_is_no_secret_is_refused(file: Path, content: bytes) -> None:
    load_or_create(file)
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=file.name):
        load_or_create(file)


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "tunegate").touch()
    with pytest.raises(SettingsError, match="cannot be stored"):
        load_or_create(secret_file(tmp_path / "tunegate", HERE, "proj_1"))
