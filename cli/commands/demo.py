"""`tunegate demo`: a fine-tuning in a minute."""

from pathlib import Path


def demo(*, data_dir: Path | None = None) -> int:
    """Fine-tune a model in a minute on this machine, from dataset to answer. Never spends anything.

    Parameters
    ----------
    data_dir
        Where to keep what the demo makes. Default: a temporary folder, removed at the end.
    """
    from cli.demo import run_demo

    return run_demo(data_dir)
