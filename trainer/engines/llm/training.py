"""Trains a job from its beginning, or from where an interrupted process saved it."""

import os
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import PrinterCallback, set_seed
from trl import DPOConfig, SFTConfig

from ..port import Adapter, JobSettings, Recorder, Refused, Work
from .batches import Batches
from .checkpoints import Reporting, restore
from .devices import device
from .hyperparameters import Lora, learning_rate, lora_of
from .loading import adapter_config, is_adapter, load_base, load_tokenizer, load_tuned
from .memory import estimate_bytes, machine_bytes
from .models_folder import BaseFolder
from .preference import PreferenceTrainer
from .rendering import Renderer
from .sequences import Encoder
from .stepping import Stepping, Sums
from .supervised import SupervisedTrainer
from .weight_shapes import read_shapes

MICRO_BATCH_TOKENS = {"cpu": 2048, "cuda": 16_384}
"""Tokens that are computed at once at first; too many for the memory are halved."""


def train(base: BaseFolder, work: Work, recorder: Recorder, cache: Path) -> None:
    """Take the remaining steps of a job. Raises Refused, BadRow, and Fenced."""
    if work.progress is not None and work.progress.step >= work.plan.total_steps:
        return
    if work.settings.method == "dpo" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise Refused("method", "DPO trains in one process here: ask for one GPU")
    _prepare_process(work.settings.seed)
    encoder = encoder_of(base, cache)
    batches = Batches(work.training, encoder, work.plan, work.settings.seed)
    trainer = _trainer(base, work, encoder.tokenizer, cache)
    trainer.stepping = Stepping(batches, recorder, MICRO_BATCH_TOKENS[device().type])
    trainer.sums, trainer.tokens = Sums(), 0
    if _needs_checkpointing(base, work):
        trainer.use_checkpointing()
    resumed = restore(trainer, work)
    validation = work.validation
    measured = Batches(validation, encoder, work.plan, work.settings.seed) if validation is not None else None
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Reporting(trainer, work, measured))
    trainer.train(resume_from_checkpoint=resumed)


def encoder_of(base: BaseFolder, cache: Path) -> Encoder:
    """Encodes rows with a base model's tokenizer, chat template and context."""
    return Encoder(Renderer(load_tokenizer(base, cache)), base.context_tokens)


def check_start(settings: JobSettings, start: Path) -> None:
    """Raises Refused when a job continues a tuned model by another type of adapter than it has."""
    wanted = lora_of(settings.adapter)
    has_adapter = is_adapter(start)
    if settings.adapter is not None and (wanted is not None) != has_adapter:
        has, other = ("lora", "full") if has_adapter else ("full", "lora")
        raise Refused(
            "adapter",
            f"The model to continue was trained with adapter.type {has!r}, and cannot be continued with {other!r}: "
            "leave adapter out, or start from the base model",
        )
    if wanted is not None and has_adapter and settings.adapter is not None and settings.adapter.rank is not None:
        rank = adapter_config(start).get("r")
        if wanted.rank != rank:
            raise Refused("adapter", f"The model to continue has an adapter of rank {rank}: leave adapter.rank out")


def _needs_checkpointing(base: BaseFolder, work: Work) -> bool:
    """On a CPU from the beginning, by the estimate: too much memory there ends the process instead of raising."""
    if device().type != "cpu":
        return False
    needed = estimate_bytes(
        read_shapes(base),
        lora_of(work.settings.adapter),
        work.settings.method,
        value_bytes=4,
        tokens=MICRO_BATCH_TOKENS["cpu"],
        checkpointing=False,
    )
    return needed > machine_bytes()


def _prepare_process(seed: int) -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(torch.cuda.is_available(), warn_only=True)
    set_seed(seed)


def _trainer(base: BaseFolder, work: Work, tokenizer: Any, cache: Path) -> Any:
    settings, start = work.settings, work.start
    lora = lora_of(settings.adapter)
    if start is not None:
        check_start(settings, start)
        lora = None
    full = not is_adapter(start) if start is not None else lora is None
    model = _start_weights(base, start, cache, full=full)
    common: dict[str, Any] = {
        "output_dir": str(work.scratch / "trainer"),
        "max_steps": work.plan.total_steps,
        "learning_rate": learning_rate(base, _kind(full), settings.method, work.plan.rate),
        "seed": settings.seed,
        "per_device_train_batch_size": 1,
        "gradient_checkpointing": False,
        "bf16": device().type == "cuda" and torch.cuda.is_bf16_supported(),
        "use_cpu": device().type == "cpu",
        "ignore_data_skip": True,
        "remove_unused_columns": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    arguments: dict[str, Any] = {
        "model": model,
        "train_dataset": Dataset.from_dict({"step": list(range(work.plan.total_steps))}),
        "data_collator": _placeholder,
        "processing_class": tokenizer,
        "peft_config": _peft_config(lora) if lora is not None else None,
    }
    try:
        if settings.method == "supervised":
            return SupervisedTrainer(args=SFTConfig(**common), **arguments)
        reference = _start_weights(base, start, cache, full=False) if full else None
        return PreferenceTrainer(args=DPOConfig(beta=work.plan.beta, **common), ref_model=reference, **arguments)
    except ValueError as error:
        if lora is not None and "target" in str(error).lower():
            raise Refused("adapter", f"The adapter's targets do not fit the model {base.name}: {error}") from error
        raise


def _start_weights(base: BaseFolder, start: Path | None, cache: Path, *, full: bool) -> Any:
    dtype = torch.float32 if full else None
    if start is None:
        return load_base(base, cache, dtype=dtype)
    return load_tuned(base, start, cache, trainable=True, dtype=dtype)


def _peft_config(lora: Lora) -> LoraConfig:
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
    )


def _kind(full: bool) -> Adapter:
    return Adapter(type="full" if full else "lora")


def _placeholder(steps: list[dict[str, int]]) -> dict[str, torch.Tensor]:
    return {"step": torch.tensor([each["step"] for each in steps])}
