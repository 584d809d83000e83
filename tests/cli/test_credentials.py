"""The secrets of a data folder."""

from pathlib import Path

from cli.credentials import load_or_create, write_private


def test_they_are_random_kept_and_readable_by_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    made = load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create(path) == made
    other = load_or_create(tmp_path / "other.json")
    assert not set(vars(made).values()) & set(vars(other).values())
    assert made.api_key.startswith("tg_live_")
    assert made.admin_key.startswith("tg_admin_")


def test_no_secret_is_in_the_repr(tmp_path: Path) -> None:
    made = load_or_create(tmp_path / "credentials.json")
    assert not any(value in repr(made) for value in vars(made).values())


def test_a_private_file_is_replaced_whole_and_leaves_no_scratch(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
