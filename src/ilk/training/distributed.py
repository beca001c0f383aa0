"""Training in several processes, started by `torchrun`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import distributed as dist
from torch import nn

from ilk.core.errors import InputError


def is_distributed() -> bool:
    """Return whether this process is one of several."""
    return dist.is_available() and dist.is_initialized()


def get_rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if is_distributed() else 0


def get_world_size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if is_distributed() else 1


def wait_for_all() -> None:
    """Wait until every process is here."""
    if is_distributed():
        dist.barrier()


def share_text(text: str) -> str:
    """Return the text of the main process."""
    if not is_distributed():
        return text
    shared = [text]
    dist.broadcast_object_list(shared, 0)
    return shared[0]


def share_value(value: float) -> float:
    """Return the number of the main process."""
    if not is_distributed():
        return value
    shared = [value]
    dist.broadcast_object_list(shared, 0)
    return shared[0]


def is_main_process() -> bool:
    """Return whether this process writes files and reports progress."""
    return get_rank() == 0


def get_rank_rows(batch_size: int) -> slice:
    """Return the part of a batch that this process computes.

    Raises:
        InputError: `batch_size` is not a multiple of the number of processes.
    """
    world_size = get_world_size()
    if batch_size % world_size:
        raise InputError(
            f"a batch of {batch_size} does not divide by {world_size} processes; change it"
        )
    return slice(get_rank(), None, world_size)


@torch.no_grad()
def broadcast_state(*modules: nn.Module) -> None:
    """Give every process the parameters and buffers of the main process."""
    if is_distributed():
        for module in modules:
            for tensor in (*module.parameters(), *module.buffers()):
                dist.broadcast(tensor.data, 0)


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the processes; a missing one counts as 0.

    The trainer does this itself, after `backward`, so that an objective may call any part of the
    network, where `DistributedDataParallel` averages only what goes through its `forward`.
    """
    if not is_distributed() or not parameters:
        return
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    sizes = [gradient.numel() for gradient in gradients]
    parts = torch.split(flat / dist.get_world_size(), sizes)
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


@contextmanager
def join_process_group(device: str) -> Iterator[str]:
    """Join the process group that `torchrun` started, if it did; yield the device to use.

    Under `torchrun`, "cuda" becomes the GPU of the local rank of this process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or is_distributed():
        yield device
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        device = f"cuda:{int(os.environ['LOCAL_RANK'])}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield device
        dist.barrier()  # no process leaves while another still writes or communicates
    finally:
        dist.destroy_process_group()
