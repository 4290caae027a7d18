# Copyright 2026 The vila_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One process, or several that torchrun started: the same code, by accelerate.

Copies of the whole model are kept equal by accelerate's DistributedDataParallel. With `shard` the
parameters are spread over the processes by torch's fully_shard (FSDP2), which accelerate offers on
GPUs alone; called directly it runs on CPUs too, where it can be tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from vila_ros.errors import InvalidRequest, Unsupported
from vila_ros.training.model import VilaForTraining

# The first process looks through the data and writes files while the others wait for it. One that
# dies is noticed by torchrun at once.
PATIENCE = timedelta(hours=24)


class Processes:
    """The processes of a run; this one is `rank` of `world`.

    device: "cpu" or "cuda". shard: spread parameters over the processes. precision: of the
    matrix products.
    """

    def __init__(self, device: str = "cpu", shard: bool = False, precision: str = "float32"):
        from accelerate import Accelerator, InitProcessGroupKwargs

        if device not in ("cpu", "cuda"):
            raise InvalidRequest(f"device {device!r} is unknown; use cpu or cuda")
        if device == "cuda" and not torch.cuda.is_available():
            raise Unsupported("device cuda was asked for, torch sees no CUDA GPU; use cpu")
        patience = InitProcessGroupKwargs(timeout=PATIENCE)
        self._accelerator = Accelerator(
            cpu=device == "cpu", mixed_precision="no", kwargs_handlers=[patience]
        )
        self.device = self._accelerator.device
        self.rank = self._accelerator.process_index
        self.world = self._accelerator.num_processes
        self.precision = torch.bfloat16 if precision == "bfloat16" else torch.float32
        self._shard = shard and self.world > 1
        self._wrapped: Any = None
        self._tied: frozenset[str] = frozenset()

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def wrap(self, model: VilaForTraining) -> nn.Module:
        """The model as it is called in training."""
        once = {name for name, _ in model.named_parameters()}
        every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        self._tied = frozenset(every - once)
        if self._shard:
            model.to(self.device)
            self._wrapped = _shard(model, self.device, self.world, self.precision)
        else:
            self._wrapped = self._accelerator.prepare(model)
        return self._wrapped

    def release(self) -> None:
        """Let go of the wrapped model, so that its memory is free for the next."""
        self._wrapped = None
        self._accelerator.free_memory()

    @contextmanager
    def computing(self, synchronize: bool) -> Iterator[None]:
        """Around a forward and a backward: precision, and whether gradients are exchanged."""
        several = self.world > 1
        if self._shard:
            self._wrapped.set_requires_gradient_sync(synchronize)
        reduced = self.precision != torch.float32 and not self._shard
        quiet = several and not self._shard and not synchronize
        with torch.autocast(self.device.type, self.precision, enabled=reduced):
            if quiet:
                with self._wrapped.no_sync():
                    yield
            else:
                yield

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """The numbers of every process."""
        mine = torch.tensor([list(values)], dtype=torch.float64, device=self.device)
        return self._accelerator.gather(mine).tolist()

    def wait(self) -> None:
        """Until all processes are here."""
        self._accelerator.wait_for_everyone()

    def learnt_state(self) -> dict[str, torch.Tensor]:
        """The tuned parameters by name, whole, on the CPU of the first process; one that has two
        names under its first."""
        options = StateDictOptions(
            full_state_dict=True, cpu_offload=True, ignore_frozen_params=True
        )
        state: dict[str, Any] = get_model_state_dict(self._wrapped, options=options)
        return {name: value.detach() for name, value in state.items() if name not in self._tied}

    def load_learnt_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Put learnt_state back; every process has it."""
        options = StateDictOptions(full_state_dict=True, strict=False)
        set_model_state_dict(self._wrapped, dict(state), options=options)

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """As learnt_state: tensors and numbers alone."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return get_optimizer_state_dict(self._wrapped, optimizer, options=options)

    def load_optimizer_state(
        self, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
    ) -> None:
        """Put optimizer_state back."""
        options = StateDictOptions(full_state_dict=True)
        set_optimizer_state_dict(self._wrapped, optimizer, dict(state), options=options)

    def close(self) -> None:
        """Leave the other processes."""
        self._accelerator.end_training()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _shard(
    model: VilaForTraining, device: torch.device, world: int, precision: torch.dtype
) -> nn.Module:
    """Shard each layer of the language model and the tower, then what is left."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.type, (world,))
    policy = MixedPrecisionPolicy()
    if precision != torch.float32:
        policy = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=torch.float32)
    for part in (model.language_model, model.vision_tower):
        for layer in _layers(part):
            fully_shard(layer, mesh=mesh, mp_policy=policy)
    sharded: Any = fully_shard(model, mesh=mesh, mp_policy=policy)
    return sharded


def _layers(part: nn.Module) -> list[nn.Module]:
    """The repeated layers of a part: the members of its longest list of modules."""
    lists = [module for module in part.modules() if isinstance(module, nn.ModuleList)]
    longest = max(lists, key=len, default=nn.ModuleList())
    return list(longest)
