"""`tunegate demo`: fine-tunes a model, from dataset to answer."""

from pathlib import Path

from cli.options import Flag


def demo(*, llm: Flag = False, data_dir: Path | None = None, models: Path = Path("models")) -> int:
    """Fine-tune a model on this machine, from dataset to answer.

    It never spends anything. Without options it takes a minute and trains a tiny byte model in the place of OpenAI's.

    Parameters
    ----------
    llm
        Train a small language model, SmolLM2-135M-Instruct, instead: some three minutes on two cores. `make demo-llm`
        installs what it needs.
    data_dir
        The folder for the data of the demo. Default: a temporary folder, removed at the end.
    models
        The models folder of `--llm`, which gets the language model at the first run.
    """
    from cli.demo.run import run_demo, run_llm_demo

    return run_llm_demo(data_dir, models) if llm else run_demo(data_dir)
