"""Several processes, one training run: what `torchrun` started, told in plain numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed as dist
from torch import nn

from ilk.errors import InputError


def active() -> bool:
    """Whether this process is one of several."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if active() else 0


def first() -> bool:
    """Whether this process writes and tells."""
    return rank() == 0


def share(batch: int) -> slice:
    """This process's part of a batch.

    Raises:
        InputError: `batch` does not divide by the number of processes.
    """
    world = dist.get_world_size() if active() else 1
    if batch % world:
        raise InputError(f"a batch of {batch} does not divide by {world} processes; change it")
    return slice(rank(), None, world)


def spread(network: nn.Module, device: str) -> nn.Module:
    """`network`, with gradients averaged over the processes."""
    if not active():
        return network
    places = [torch.device(device)] if device.startswith("cuda") else None
    return nn.parallel.DistributedDataParallel(network, device_ids=places)


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the run that `torchrun` started, if it did; the device of this process.

    Under `torchrun`, "cuda" becomes the GPU of this process's number on its machine.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or active():
        yield device
        return
    on_gpu = device.startswith("cuda")
    if on_gpu:
        device = f"cuda:{int(os.environ['LOCAL_RANK'])}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield device
        dist.barrier()  # nobody leaves while another still writes or talks to it
    finally:
        dist.destroy_process_group()
