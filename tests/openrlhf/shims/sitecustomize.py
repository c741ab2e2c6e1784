"""Lets OpenRLHF 0.11.2 train without a GPU, in every Python process.

Each function patches one module when that is imported; its docstring names the code that needs the patch.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


class _Device(str):
    """`cpu` as a device, and `0` in the `f"cuda:{...}"` of trainer/ppo_utils/replay_buffer.py."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return "0"


def _torch_cuda(module: Any) -> None:
    """For the calls of `torch.cuda` in trainer/ray/{launcher,ppo_actor}.py and in utils/."""
    device = _Device("cpu")
    module.current_device = lambda: device
    for name in ("set_device", "synchronize", "empty_cache", "current_stream"):
        setattr(module, name, lambda *_, **__: None)


def _device_mesh(module: Any) -> None:
    """For `init_device_mesh("cuda", ...)` in utils/deepspeed/deepspeed.py."""
    plain = module.init_device_mesh
    module.init_device_mesh = lambda _, *args, **kwargs: plain("cpu", *args, **kwargs)


def _weights_received(module: Any) -> None:
    """For `update_weight` in trainer/ray/vllm_worker_wrap.py, whose buffer is on `cuda`."""

    def update_weight(self: Any, name: str, dtype: Any, shape: Any, empty_cache: bool = False) -> None:
        import torch

        weight = torch.empty(shape, dtype=dtype)
        self._model_update_group.broadcast(weight, src=0)
        self.model_runner.model.load_weights(weights=[(name, weight)])

    module.WorkerWrap.update_weight = update_weight


def _weights_sent(module: Any) -> None:
    """For `stateless_init_process_group` in utils/distributed_util.py, which needs NCCL."""

    class Group:
        def __init__(self, group: Any) -> None:
            self._group = group

        def broadcast(self, tensor: Any, src: int, stream: Any = None) -> None:
            # As bytes: an unpickled tensor stays tied to the process that made it.
            import torch

            own = self._group.rank == src
            sent = tensor.detach().view(torch.uint8).numpy().tobytes() if own else None
            received = self._group.broadcast_obj(sent, src)
            if not own:
                flat = torch.frombuffer(bytearray(received), dtype=tensor.dtype)
                tensor.copy_(flat.reshape(tensor.shape))

    def stateless_init_process_group(
        master_address: str, master_port: int, rank: int, world_size: int, device: Any
    ) -> Group:
        from vllm.distributed.utils import StatelessProcessGroup

        return Group(StatelessProcessGroup.create(master_address, master_port, rank, world_size))

    module.stateless_init_process_group = stateless_init_process_group


def _plain_layers(module: Any) -> None:
    """For vLLM's CPU layers, which pack their weights at start-up and would miss new ones."""
    import torch

    def dispatch(layer: Any, remove_weight: bool) -> None:
        layer.cpu_linear = torch.nn.functional.linear

    module.dispatch_cpu_unquantized_gemm = dispatch


_SHIMS: dict[str, Callable[[Any], None]] = {
    "torch.cuda": _torch_cuda,
    "torch.distributed.device_mesh": _device_mesh,
    "openrlhf.trainer.ray.vllm_worker_wrap": _weights_received,
    "openrlhf.utils.distributed_util": _weights_sent,
    "vllm.model_executor.layers.utils": _plain_layers,
}


class _Finder(importlib.abc.MetaPathFinder):
    """Applies a shim to its module as soon as that has been imported."""

    def __init__(self) -> None:
        self._waiting = dict(_SHIMS)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        shim = self._waiting.pop(fullname, None)
        spec = importlib.util.find_spec(fullname) if shim else None
        if shim and spec and spec.loader:
            run, apply = spec.loader.exec_module, shim

            def exec_module(module: ModuleType) -> None:
                run(module)
                apply(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder())
