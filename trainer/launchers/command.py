"""The command that a launcher runs for an attempt: one process, or one for each GPU."""

from .port import Launch


def command(launch: Launch, *, python: str) -> list[str]:
    """`python -m trainer.train`, under torchrun when the attempt trains on more than one GPU.

    torchrun sets `RANK`, `LOCAL_RANK` and `WORLD_SIZE`, from which accelerate and transformers' Trainer set up data
    parallelism. With `--standalone` it takes a free port, so that two such attempts can share a machine; it ends all
    processes when one dies.
    """
    module = ["-m", "trainer.train"]
    if launch.gpus > 1 and not launch.validating:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(launch.gpus)]
        return [python, *torchrun, *module]
    return [python, *module]
