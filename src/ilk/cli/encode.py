"""`ilk encode`: features of very many images, as shards that any number of jobs may encode."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ilk.cli.encode_progress import report_progress
from ilk.cli.finite_range import FiniteRange
from ilk.cli.intake_options import IntakeOptions
from ilk.cli.options import add_network_options, add_precision_option
from ilk.cli.output import Result, add_json_option, print_note, show_intake
from ilk.cli.source_options import add_intake_options, add_multi_label_options
from ilk.report.formatting import format_count

if TYPE_CHECKING:
    from ilk.core.capabilities import Embeds
    from ilk.shards.manifest import Manifest
    from ilk.shards.spaces import ShardSpace
    from ilk.shards.throughput import Throughput
    from ilk.shards.verify import Count

MIN_FOR_COST = 1000  # images: below, starting up is most of what would be extrapolated


@click.command()
@click.argument("source")
@click.option(
    "--out",
    metavar="SHARDS",
    help="Shard folder to write or to continue; leave it out if SOURCE is one.",
)
@click.option(
    "--encoder",
    "encoders",
    multiple=True,
    help="Encoder to use; may be repeated. `default` stands for the default encoders of `ilk fit` "
    "[default: those whose features the shard folder has].",
)
@click.option(
    "--shard",
    "job",
    metavar="I/N",
    help="Encode only the shards of job I of N, such as 3/64; if the shard folder has a list of "
    "images, it is used.",
)
@click.option(
    "--on",
    default="local",
    show_default=True,
    metavar="local|ray|ray://HOST",
    help="Where to encode: on this machine, or on a Ray cluster.",
)
@click.option(
    "--shard-size",
    type=click.IntRange(1),
    help="Images per shard, when the shard folder is made; for an even load, choose at least 10 "
    "shards per job or worker [default: 5000].",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float16"]),
    help="Type of the stored features; float16 halves their size [default: that of the stored "
    "features, else float32].",
)
@click.option("--list-only", is_flag=True, help="List the images, but do not encode them.")
@click.option(
    "--verify",
    is_flag=True,
    help="Encode nothing; read all parts and compare their rows with the list of images.",
)
@click.option(
    "--relabel",
    is_flag=True,
    help="Take over changed labels, splits and groups from SOURCE; the features are kept.",
)
@click.option(
    "--retry",
    is_flag=True,
    help="Encode again the shards with images that could not be read, such as those of a disk that "
    "was not mounted.",
)
@click.option(
    "--actors",
    type=click.IntRange(1),
    help="Number of workers of the cluster [default: one per core or GPU].",
)
@click.option("--cpus-per-actor", type=FiniteRange(0, min_open=True), help="Cores per worker.")
@click.option("--gpus-per-actor", type=FiniteRange(0), help="GPUs per worker, such as 0.5.")
@click.option(
    "--wait",
    type=FiniteRange(0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds to wait for a cluster that does not answer.",
)
@add_precision_option
@add_multi_label_options
@add_intake_options
@add_network_options
@add_json_option
def command(
    source: str,
    out: str | None,
    encoders: tuple[str, ...],
    job: str | None,
    on: str,
    shard_size: int | None,
    dtype: str | None,
    list_only: bool,
    verify: bool,
    relabel: bool,
    retry: bool,
    actors: int | None,
    cpus_per_actor: float | None,
    gpus_per_actor: float | None,
    wait: float,
    precision: str,
    intake: IntakeOptions,
    device: str,
    runtime: str,
) -> Result:
    """Encode the images of SOURCE into a shard folder: Parquet files, for very many images.

    SOURCE is anything that `ilk fit` reads, a folder or table in a bucket (s3://, gs://, hf://), or
    a shard folder to continue. The command may be killed at any moment and repeated; any number of
    jobs may encode one folder at once, on any disk that they share. Images added later get new
    shards. `ilk fit SHARDS` trains on the result.
    """
    from ilk.core.errors import InputError
    from ilk.shards.engines import EngineOptions, open_engine
    from ilk.shards.jobs import Job
    from ilk.shards.manifest import check_local, is_shard_folder

    jobs = Job.parse(job) if job else Job()
    engine, address = open_engine(on)
    options = EngineOptions(address, actors, cpus_per_actor, gpus_per_actor, wait)
    check_local(out or "")
    is_folder = is_shard_folder(source)
    if out is None and not is_folder:
        raise InputError("name the shard folder to write with --out")
    if is_folder and out is not None and Path(out).resolve() != Path(source).resolve():
        raise InputError(f"{source} is a shard folder itself; leave out --out")
    folder = Path(source if is_folder else out or "")
    is_listed = is_folder or verify or (job is not None and is_shard_folder(folder))
    if is_listed:
        manifest = _read_manifest(folder, shard_size)
        if os.path.isdir(source) and not is_folder and manifest.base != os.path.abspath(source):
            print_note(f"the images are those of {manifest.path}; they are not listed again")
    else:
        if not list_only:
            _check_encoders(encoders, folder)
        manifest = _list_images(source, folder, intake, shard_size, relabel)
    if list_only:
        name = _quote(folder)
        click.echo(
            f"listed {format_count(manifest.n_rows, 'image')} in "
            f"{format_count(manifest.n_shards, 'shard')}"
        )
        click.echo(f"next   ilk encode {name} --encoder NAME --shard I/N  (for each I from 1 to N)")
        return Result(_describe(manifest, folder))
    if verify:
        return _verify(manifest, encoders, jobs.list_shards(manifest.n_shards), device, runtime)
    open_encoders = _resolve(manifest, encoders, device, runtime, precision)
    numbers = jobs.list_shards(manifest.n_shards)
    n_rows = sum(manifest.shards[i].n for i in numbers)
    click.echo(
        f"{format_count(n_rows, 'image')} in {format_count(len(numbers), 'shard')}"
        + (f" of {manifest.n_shards:,} (job {job})" if job else "")
    )
    runs = []
    for encoder, open_encoder in open_encoders:
        space = _open_space(manifest, encoder, dtype)
        with report_progress(f"encoding with {encoder.name}", n_rows) as throughput:
            throughput.n_cores = throughput.n_cores if on == "local" else 0
            engine.run(
                folder,
                numbers,
                open_encoder,
                dtype=space.dtype,
                again=retry,
                meter=throughput,
                log=print_note,
                options=options,
            )
        runs.append(_finish(manifest, space, numbers, throughput))
    exit_code = max(code for _, code in runs)
    if exit_code == 0:
        _say_what_is_next(folder, is_all=len(numbers) == manifest.n_shards)
    return Result(
        {**_describe(manifest, folder), "job": job, "encoders": [value for value, _ in runs]},
        exit_code=exit_code,
    )


def _check_encoders(names: Sequence[str], folder: Path) -> None:
    """Check names of encoders before images are listed.

    Raises:
        InputError: None is named and the folder has no features.
        UnknownName: There is no such encoder.
    """
    from ilk.core.errors import InputError
    from ilk.encoders.families import find_family
    from ilk.encoders.variants import split_variant
    from ilk.shards.spaces import list_spaces

    if not names and not list_spaces(folder):
        raise InputError(f"choose an encoder for the images of {folder}: --encoder NAME")
    for name in names:
        if name != "default":
            find_family(split_variant(name)[0])


def _say_what_is_next(folder: Path, is_all: bool) -> None:
    """Print the commands that use a shard folder, or that check it once other jobs are done."""
    name = _quote(folder)
    if is_all:
        click.echo(f"next   ilk fit {name} --out MODEL")
        click.echo(f"       ilk search {name} IMAGE --out found.html")
    else:
        click.echo(f"next   ilk encode {name} --verify  (when all jobs are done)")


def _quote(folder: Path) -> str:
    """Return a folder as one word of a command line."""
    import shlex

    from ilk.images.rows import escape_path

    return escape_path(shlex.quote(str(folder)))


def _read_manifest(folder: Path, shard_size: int | None) -> Manifest:
    from ilk.core.errors import InputError
    from ilk.shards.manifest import Manifest

    manifest = Manifest.read(folder)
    if shard_size not in (None, manifest.shard_size):
        raise InputError(
            f"{folder} has shards of {manifest.shard_size} images; leave out --shard-size, or "
            "encode into another folder"
        )
    return manifest


def _list_images(
    source: str, folder: Path, intake: IntakeOptions, shard_size: int | None, relabel: bool
) -> Manifest:
    """List the images of a source, and write or extend the manifest."""
    from ilk.artifacts.output_files import check_outside_sources
    from ilk.shards.manifest import SHARD_SIZE, Manifest, is_shard_folder
    from ilk.shards.output_folder import check_new_folder

    check_outside_sources(folder, source)
    known = _read_manifest(folder, shard_size) if is_shard_folder(folder) else None
    if known is None:
        check_new_folder(folder)
    images = intake.read_images(source, None)
    if images.refused:
        show_intake(images)
    if known is None and is_shard_folder(folder):  # another job has made it meanwhile
        known = Manifest.read(folder)
    if known is None:
        return Manifest.write(folder, images, shard_size=shard_size or SHARD_SIZE)
    manifest = known.extend(images, relabel=relabel)
    if n_late := manifest.n_rows - known.n_rows:
        n_shards = manifest.n_shards - known.n_shards
        click.echo(f"new: {format_count(n_late, 'image')} in {format_count(n_shards, 'new shard')}")
    return manifest


def _describe(manifest: Manifest, folder: Path) -> dict[str, Any]:
    return {
        "shards": folder,
        "images": manifest.n_rows,
        "n_shards": manifest.n_shards,
        "shard_size": manifest.shard_size,
        "digest": manifest.digest,
    }


def _resolve(
    manifest: Manifest, names: Sequence[str], device: str, runtime: str, precision: str
) -> list[tuple[Embeds, Callable[[], Embeds]]]:
    """Return the encoders, each with a call that opens it in another process.

    Raises:
        InputError: None is named and the folder has no features, or one is a classifier.
    """
    from ilk.core.capabilities import ScoresClasses
    from ilk.core.errors import InputError
    from ilk.encoders import choose_encoders, resolve_encoder
    from ilk.encoders.families import find_family
    from ilk.encoders.variants import split_variant
    from ilk.hub import client as hub
    from ilk.shards.listing import load_listing
    from ilk.shards.spaces import list_spaces

    names = names or [space.name for space in list_spaces(manifest.folder)]
    if not names:
        raise InputError(f"choose an encoder for the images of {manifest.folder}: --encoder NAME")
    options: dict[str, Any] = {"device": device, "runtime": runtime, "precision": precision}
    found: dict[str, Embeds] = {}
    with hub.apply_policy(hub.DownloadPolicy(log=click.echo)):
        for name in dict.fromkeys(names):
            plain = split_variant(name)[0]
            depends = name == "default" or ("/" not in plain and not find_family(plain).pretrained)
            images = load_listing(manifest, with_contents=False) if depends else None
            if name == "default" and images is not None:
                defaults, message = choose_encoders(images, **options)
                click.echo(message)
                found |= {encoder.name: encoder for encoder in defaults}
                continue
            encoder = resolve_encoder(name, images=images, **options)
            if isinstance(encoder, ScoresClasses):
                raise InputError(f"{name} is a classifier of given classes and gives no features")
            found[encoder.name] = encoder
    return [(e, partial(resolve_encoder, e.name, **options)) for e in found.values()]


def _open_space(manifest: Manifest, encoder: Embeds, dtype: str | None) -> ShardSpace:
    from ilk.shards.spaces import list_spaces, open_space

    known = [s.dtype for s in list_spaces(manifest.folder) if s.key == encoder.space.key]
    return open_space(manifest.folder, encoder, dtype or (known[0] if known else "float32"))


def _finish(
    manifest: Manifest, space: ShardSpace, numbers: Sequence[int], throughput: Throughput
) -> tuple[dict[str, Any], int]:
    """Compare the rows with the manifest, print what was done, and return the exit code."""
    from ilk.shards.throughput import MILLION, format_rate, format_rounded_seconds
    from ilk.shards.verify import count_rows

    count = count_rows(manifest, space, numbers)
    cost = throughput.core_hours_per_million
    if cost is not None:
        rate = throughput.images_per_second
        shares = ", ".join(f"{name} {100 * s:.0f} %" for name, s in throughput.shares.items())
        click.echo(
            f"{format_count(throughput.n_new, 'image')} in "
            f"{format_rounded_seconds(throughput.elapsed)}: {format_rate(rate)}; busy with {shares}"
        )
        if throughput.n_new >= MIN_FOR_COST:
            click.echo(
                f"a million images take {cost:,.1f} core-hours, or "
                f"{format_rounded_seconds(MILLION / rate)} at this rate; the bottleneck is "
                f"{throughput.bottleneck}"
            )
    value = _show_count(manifest, space, count)
    return {**value, **throughput.to_json()}, 0 if count.is_whole else 1


def _show_count(manifest: Manifest, space: ShardSpace, count: Count) -> dict[str, Any]:
    if count.n_refused:
        print_note(
            f"{count.n_refused:,} of {format_count(count.n_rows, 'image')} could not be encoded; "
            "the column `reason` of the parts says why"
        )
    if count.n_transient:
        print_note(f"{count.n_transient:,} of them may be readable later: try again with --retry")
    if count.is_whole:
        click.echo(f"features {space.home}: {count.n_rows:,} rows, as many as the list of images")
    else:
        click.echo(f"ilk: {space.name}: {count.describe(manifest)}", err=True)
    return {
        "encoder": space.name,
        "features": space.home,
        "d": space.d,
        "dtype": space.dtype,
        "expected": count.n_expected,
        "rows": count.n_rows,
        "refused": count.n_refused,
        "retry": count.n_transient,
        "missing": count.missing,
        "damaged": count.damaged,
    }


def _verify(
    manifest: Manifest, names: Sequence[str], numbers: Sequence[int], device: str, runtime: str
) -> Result:
    """Say what is missing of every space, or of those that are named."""
    from ilk.encoders import resolve_encoder
    from ilk.shards.spaces import choose_space, find_space, list_spaces
    from ilk.shards.verify import count_rows

    folder = manifest.folder
    resolve = partial(resolve_encoder, device=device, runtime=runtime)
    spaces = [find_space(folder, n, resolve) for n in names if n != "default"]
    spaces = spaces or list_spaces(folder)
    spaces = spaces or [choose_space(folder)]
    counts = [(space, count_rows(manifest, space, numbers, whole=True)) for space in spaces]
    values = [_show_count(manifest, space, count) for space, count in counts]
    return Result(
        {**_describe(manifest, folder), "encoders": values},
        exit_code=0 if all(count.is_whole for _, count in counts) else 1,
    )
