"""`tunegate demo`: fine-tunes a model in a minute."""

from pathlib import Path


def demo(*, data_dir: Path | None = None) -> int:
    """Fine-tune a model in a minute on this machine, from dataset to answer. Never spends anything.

    Parameters
    ----------
    data_dir
        The folder for the data of the demo. Default: a temporary folder, removed at the end.
    """
    from cli.demo import run_demo

    return run_demo(data_dir)
