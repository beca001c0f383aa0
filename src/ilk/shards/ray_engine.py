"""Encode shards on Ray Data: a pool of actors on one machine or many, one encoder in each.

What is done is what lies in the folder: shards without a part go to the cluster, and the folder is
looked at again at the end, whatever the cluster says. So a worker, a machine or the command itself
may be killed at any moment. Ray Data's own checkpoints are not used.

The pipeline runs in a task inside the cluster, because Ray Data does not run through Ray's client;
this process only collects events. Features never pass through Ray.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from ilk.core.capabilities import Embeds
from ilk.core.errors import IlkError, OutputError, Unavailable
from ilk.core.short_lists import list_first
from ilk.images.rows import escape_path
from ilk.shards.encode import Meter, ignore
from ilk.shards.engines import EngineOptions
from ilk.shards.manifest import Manifest
from ilk.shards.parts import check_part
from ilk.shards.ray_cluster import connect, get_address
from ilk.shards.ray_events import Desk, Watch
from ilk.shards.ray_plan import ActorPlan, plan_actors
from ilk.shards.ray_step import EncodeShards, StepConfig
from ilk.shards.spaces import ShardSpace, open_space

MAX_ATTEMPTS = 3  # of a shard whose worker dies
POLL_SECONDS = 0.2
IN_FLIGHT = 2  # shards per actor that are running or next
MAX_NAMED = 10  # shards named in a message
Log = Callable[[str], None]


def run(
    folder: str | Path,
    shard_numbers: Sequence[int],
    open_encoder: Callable[[], Embeds],
    *,
    dtype: str = "float32",
    again: bool = False,
    meter: Meter = ignore,
    log: Log = lambda _line: None,
    options: EngineOptions = EngineOptions(),  # noqa: B008  (frozen)
) -> None:
    """Encode shards on a cluster; returns when every one of them has its part.

    Args:
        folder: The shard folder, which all machines must see under the same path.
        shard_numbers: Numbers of the shards.
        open_encoder: Opens the encoder; called here and once in each worker, and sent there by
            name, so that it must be a function of ilk (or a `partial` of one).
        dtype: As in `encode_shard`.
        again: As in `encode_shard`.
        meter: As in `encode_shard`; images that a lost worker had done are not counted twice.
        log: Takes what is worth telling, a line at a time.
        options: Where, and how many workers.

    Raises:
        Unavailable: Ray is missing, the cluster does not answer or cannot start a worker, or a
            worker lacks what it needs.
        IlkError: A shard could not be encoded; parts that are done stay.
    """
    encoder, manifest = open_encoder(), Manifest.read(folder)
    space = open_space(manifest.folder, encoder, dtype)
    missing = _find_missing(manifest, space, shard_numbers, again)
    done = sorted(set(shard_numbers) - set(missing))
    for i in done:
        meter(manifest.shards[i].n, {})
    if not missing:
        return
    address = get_address(options)
    with connect(options) as ray, _put_mark(manifest.folder) as mark:
        uses_gpu = getattr(encoder, "device", "cpu") not in ("cpu", "mps")
        plan = plan_actors(ray.cluster_resources(), options, len(missing), uses_gpu)
        log(f"Ray{f' at {address}' if address else ''}: {plan.describe()}")
        config = StepConfig(
            str(manifest.folder.resolve()),
            mark,
            manifest.digest,
            space.key,
            open_encoder,
            dtype,
            again,
            plan.n_threads,
            MAX_ATTEMPTS,
            os.getcwd(),
        )
        watch = Watch(meter, log, MAX_ATTEMPTS)
        try:
            _work(ray, config, missing, plan, watch, options.wait)
        except IlkError:
            raise
        except Exception as error:  # of Ray, its client or the network
            raise _explain(error, address, options.wait) from error
    lost = [i for i in missing if check_part(manifest, space, i)[1] is None]
    if lost:
        raise IlkError(
            f"{_list_shards(lost)} could not be encoded: {watch.explain_lost(lost)}; the others "
            "are done. If memory was short, use fewer workers (--actors) or smaller shards; run "
            "the same command again to try these again"
        )


def _find_missing(
    manifest: Manifest, space: ShardSpace, numbers: Sequence[int], again: bool
) -> list[int]:
    """Return the shards that have work left, in the order given."""
    parts = {i: check_part(manifest, space, i)[1] for i in numbers}
    return [i for i, part in parts.items() if part is None or (again and part.n_transient)]


@contextmanager
def _put_mark(folder: Path) -> Iterator[str]:
    """Put a file into a folder while the cluster works; yield its name."""
    mark = folder / f".ray-{uuid.uuid4().hex}"
    try:
        mark.touch()
    except OSError as error:
        raise OutputError(
            f"cannot write to {escape_path(folder)}: {error.strerror}; choose another folder"
        ) from None
    try:
        yield mark.name
    finally:
        with suppress(OSError):
            mark.unlink()


def run_job(config: StepConfig, shards: list[int], plan: ActorPlan, desk: Any) -> None:
    """Run the pipeline: a task inside the cluster."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    rows = ray.data.from_items([{"shard": i} for i in shards], override_num_blocks=len(shards))
    encoded = rows.map_batches(
        EncodeShards,
        batch_size=None,
        fn_constructor_kwargs={"config": config, "desk": desk},
        compute=ray.data.ActorPoolStrategy(size=plan.n, max_tasks_in_flight_per_actor=IN_FLIGHT),
        num_cpus=plan.cpus,
        num_gpus=plan.gpus or None,
    )
    for _ in encoded.iter_batches(batch_size=None, prefetch_batches=0):
        pass


def _work(
    ray: Any,
    config: StepConfig,
    shards: list[int],
    plan: ActorPlan,
    watch: Watch,
    wait: float,
) -> None:
    """Start the job and collect events until it ends; it is cancelled if this ends first."""
    desk = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Desk).remote()
    job = ray.remote(num_cpus=0, max_retries=MAX_ATTEMPTS - 1)(run_job).remote(
        config, shards, plan, desk
    )
    started_at = monotonic()
    try:
        is_done = False
        while not is_done:
            is_done = bool(ray.wait([job], timeout=0)[0])
            for event in ray.get(desk.collect.remote(), timeout=wait):
                watch.take(event)
            if not watch.has_begun and monotonic() - started_at > wait:
                raise Unavailable(_describe_wait(ray, plan, wait))
            if not is_done:
                sleep(POLL_SECONDS)
        ray.get(job)
    except BaseException:
        with suppress(Exception):
            ray.cancel(job, force=True)
        raise


def _describe_wait(ray: Any, plan: ActorPlan, wait: float) -> str:
    total, free = ray.cluster_resources(), ray.available_resources()
    parts = [f"{free.get(k, 0):g} of {total.get(k, 0):g} {k}s" for k in ("CPU", "GPU")]
    return (
        f"the cluster has not started a worker within {wait:.0f} s: {' and '.join(parts)} are "
        f"free, and {plan.describe()} are requested; request less (--actors, --cpus-per-actor, "
        "--gpus-per-actor), or run the command again when it has room"
    )


def _explain(error: Exception, address: str, wait: float) -> IlkError:
    """Return the error for an exception of Ray."""
    text = str(error)
    if isinstance(error, TimeoutError):
        text = f"it has not answered for {wait:.0f} s"
    where = f"the cluster at {address}" if address else "Ray on this machine"
    if "No module named 'ilk" in text:
        return Unavailable(
            f"{where} has no ilk on its workers; install this version with the extra ray on every "
            "machine"
        )
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    reason = lines[-1][:200] if lines else type(error).__name__
    return Unavailable(
        f"{where} ended the job ({reason}); parts that are done stay, and running the same command "
        "again goes on from there"
    )


def _list_shards(shards: Sequence[int]) -> str:
    named = list_first([str(shard) for shard in shards], MAX_NAMED)
    return f"shard{'s' * (len(shards) > 1)} {named}"
