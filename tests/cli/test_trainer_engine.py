"""The options `--engine` and `--models` of `tunegate dev`, which are checked before anything starts."""

import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from cli.trainer_engine import BYTE_MODEL, TrainerEngine, chosen_engine
from service.catalogue.models_file import load
from service.errors import SettingsError
from tests.catalogue.open_models import write_open_model
from tests.stack import ROOT

UPSTREAM = {"OPENAI_BASE_URL": "https://api.openai.com/v1", "OPENAI_API_KEY": "sk"}


def refusal(environ: dict[str, str], *, engine: str | None = None, models: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        chosen_engine(environ, engine=engine, models=models)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestChosen:
    def test_the_byte_model_without_options(self) -> None:
        assert chosen_engine(UPSTREAM, engine=None, models=None) is BYTE_MODEL
        assert chosen_engine({}, engine="bytemodel", models=None).variables() == {"TRAINER_ENGINE": "bytemodel"}

    def test_an_option_wins_over_the_trainer_s_setting(self) -> None:
        assert chosen_engine({"TRAINER_ENGINE": "transformers"}, engine="bytemodel", models=None) is BYTE_MODEL


class TestRefused:
    def test_models_for_the_byte_model(self, tmp_path: Path) -> None:
        assert "--models is for --engine transformers" in refusal({}, engine="bytemodel", models=tmp_path)

    def test_an_engine_beside_another_upstream(self, tmp_path: Path) -> None:
        assert "select another upstream" in refusal(UPSTREAM, engine="transformers", models=tmp_path)

    def test_an_unknown_engine_in_the_settings(self) -> None:
        assert "no engine 'vllm'" in refusal({"TRAINER_ENGINE": "vllm"})

    @pytest.mark.skipif(find_spec("torch") is not None, reason="the extra is installed")
    def test_a_missing_extra(self, tmp_path: Path) -> None:
        assert "pip install 'tunegate[llm]'" in refusal({}, models=tmp_path)

    def test_dev_exits_with_2_before_it_makes_anything(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        options = ["--engine", "transformers", "--models", str(tmp_path / "absent"), "--data-dir", str(data)]
        dev = subprocess.run(
            [sys.executable, "-m", "cli", "dev", *options], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert (dev.returncode, dev.stdout) == (2, "")
        assert dev.stderr.startswith("tunegate: ")
        assert dev.stderr.count("\n") == 1
        assert not data.exists()


class TestModelsFile:
    def test_it_names_the_folder_and_the_trainer_s_conversions(self, tmp_path: Path) -> None:
        models = tmp_path / 'odd "folder"'
        write_open_model(models / "tiny")
        (models / "packed").mkdir()
        (models / "packed" / "weights.gguf").write_bytes(b"GGUF")
        write_open_model(tmp_path / "trainer" / "engine" / "packed-0123456789ab")
        file = TrainerEngine(name="transformers", models=models).write_models_file(tmp_path)
        assert file is not None
        assert tomllib.loads(file.read_text())["folder"] == str(models)
        assert load(str(file)).names() == ["packed", "tiny"]

    def test_the_byte_model_has_none(self, tmp_path: Path) -> None:
        assert BYTE_MODEL.write_models_file(tmp_path) is None
        assert list(tmp_path.iterdir()) == []
