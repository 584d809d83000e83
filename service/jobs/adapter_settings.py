"""`adapter` of a job's create, ours: which weights are trained, and how a low-rank adapter is shaped. Pure.

None leaves a value to the upstream. Only upstreams whose capabilities have it get the field.
"""

from typing import Annotated, Any, Literal

import msgspec

from service.errors import InvalidRequest
from service.http.wire_types import RequestModel

MAX_RANK = 1024
MAX_ALPHA = 65_536
MAX_TARGETS = 64

AdapterType = Literal["lora", "full"]
Rank = Annotated[int, msgspec.Meta(ge=1, le=MAX_RANK)]
Alpha = Annotated[float, msgspec.Meta(gt=0, le=MAX_ALPHA)]
Dropout = Annotated[float, msgspec.Meta(ge=0, lt=1)]
LayerName = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.-]*\Z")]
AllLinear = Literal["all-linear"]
Targets = AllLinear | Annotated[list[LayerName], msgspec.Meta(min_length=1, max_length=MAX_TARGETS)]


class AdapterSettings(RequestModel, frozen=True, kw_only=True):
    """The weights to train: `lora` trains low-rank matrices beside frozen weights, `full` all weights.

    `rank`, `alpha` and `dropout` are those of the LoRA paper (Hu et al., 2021). `targets` are names of linear layers,
    such as `q_proj`, or `all-linear`. The upstream chooses what is not given.
    """

    type: AdapterType = "lora"
    rank: Rank | None = None
    alpha: Alpha | None = None
    dropout: Dropout | None = None
    targets: Targets | None = None


def resolve_adapter(requested: AdapterSettings | None) -> dict[str, Any] | None:
    """The adapter as it is stored and shown. Raises `InvalidRequest` for LoRA's settings on a full fine-tuning."""
    if requested is None:
        return None
    for name in ("rank", "alpha", "dropout", "targets"):
        if requested.type == "full" and getattr(requested, name) is not None:
            raise InvalidRequest(
                f"'adapter.{name}' does not belong to an adapter of type 'full', which trains all weights. "
                "Leave it out, or use the type 'lora'.",
                param=f"adapter.{name}",
                code="conflicting_parameters",
            )
    targets = [requested.targets] if isinstance(requested.targets, str) else requested.targets
    if targets is not None and "all-linear" in targets and len(targets) > 1:
        raise InvalidRequest(
            "'all-linear' in 'adapter.targets' covers every linear layer. Give it alone, or name the layers.",
            param="adapter.targets",
            code="conflicting_parameters",
        )
    return {**msgspec.to_builtins(requested), "targets": targets}


def sent_adapter(adapter: dict[str, Any]) -> dict[str, Any]:
    """A stored adapter as it is sent upstream: without what the upstream chooses."""
    return {name: value for name, value in adapter.items() if value is not None}


def adapter_type(adapter: dict[str, Any] | None) -> AdapterType:
    """What a job trains, by which its speed is calibrated. Upstreams train by LoRA if a job does not say."""
    return "full" if adapter is not None and adapter["type"] == "full" else "lora"
