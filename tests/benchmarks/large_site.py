"""A store of many models measured night after night: its index, a night more, and the site over it, each timed.

`PYTHONPATH=tests:. python tests/benchmarks/large_site.py MODELS NIGHTS` prints one JSON object. Half of the models are
sparse. A night measures of every model serving at 1 and at 8 concurrent requests, memory and a task of 100 items, once:
71 figures in four records of 7 kB on average. One serving cell in a hundred fails, the engine changes every 30 nights
and the commit every night. Each part runs in a process of its own, so that its peak of memory is its own. Records are
written without syncing them: that is the disk's time, not ours.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import builders

from harness.environment import Accelerator, Ceilings, Environment, ReadRate
from harness.record import Completed, Failed, Record
from harness.scenario import MemoryScenario

SUITE = "nightly"
ITEMS = 100
VARIANTS = 6
"""Measurements of each cell that the nights draw from: making one takes longer than writing it."""
REPORTS = 3
"""How often the site is rendered."""
FAILING = 100
"""One serving cell in so many fails."""


def config(number: int) -> dict[str, Any]:
    """A model's shape: even ones sparse, odd ones dense, in ten sizes."""
    size = number // 2 % 10
    shape = {
        "vocab_size": 32_000, "hidden_size": 1024 + 128 * size, "num_hidden_layers": 16 + size,
        "num_attention_heads": 16, "num_key_value_heads": 4, "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
    }
    if number % 2:
        return {"model_type": "llama", **shape, "intermediate_size": 4096 + 512 * size + 16 * (number // 20)}
    return {
        "model_type": "mixtral", **shape, "intermediate_size": 2048 + 256 * size + 8 * (number // 20),
        "num_local_experts": 8, "num_experts_per_tok": 2,
    }


def name_of(number: int) -> str:
    """A model's name."""
    return f"{'dense' if number % 2 else 'sparse'}-{number // 2:03d}"


def environment(night: int) -> Environment:
    """The machine of one night: new commits every night, new engines every month, a new driver now and then."""
    ceilings = Ceilings(
        reads=(ReadRate(working_set_bytes=1 << 20, bytes_per_s=9e12 + night), ReadRate(
            working_set_bytes=1 << 30, bytes_per_s=3e12 + night)),
        matmul_flops_per_s={"bfloat16": 9e14 + night, "float32": 4e14}, duration_s=2.0,
    )
    versions = builders.ENVIRONMENT.versions | {"vllm": f"0.{20 + night // 30}.0", "torch": f"2.{8 + night // 90}.0"}
    return builders.ENVIRONMENT.model_copy(update={
        "accelerators": (Accelerator(name="Example GPU", memory_bytes=80_000_000_000),), "versions": versions,
        "driver": f"58{night // 120}.10", "commit": f"{night:040x}", "ceilings": ceilings,
    })


class Cells:
    """The cells of one model, each with the beginning of its records and what its nights may have measured."""

    def __init__(self, number: int) -> None:
        random, model = Random(number), name_of(number)
        subject = builders.subject(model, accelerator="Example GPU")
        common: dict[str, Any] = {"subject": subject, "config": config(number)}
        speed = random.uniform(500, 4000)
        accuracy = random.uniform(0.3, 0.9)
        loads = [builders.serving_scenario(concurrency, output_tokens=64) for concurrency in (8, 1)]
        served, alone = (
            [
                builders.serving_record(scenario=load, tokens_per_s=share * speed * random.gauss(1, 0.02), **common)
                for _ in range(VARIANTS)
            ]
            for load, share in zip(loads, (1.0, 0.2), strict=True)
        )
        failure = Failed(error="engine", message="CUDA error: device-side assert triggered", log_tail="Traceback ...")
        loaded = [
            builders.memory_record(
                resident_bytes=9_000_000_000 + random.randrange(10**8),
                devices=(builders.device_memory(30_000_000_000 + random.randrange(10**9)),), **common,
            )
            for _ in range(VARIANTS)
        ]
        scored = [
            builders.quality_record(
                item_scores=tuple(float(random.random() < accuracy) for _ in range(ITEMS)), **common)
            for _ in range(VARIANTS)
        ]
        assert isinstance(loaded[0].cell.scenario, MemoryScenario)
        failed = builders.record(loads[0], failure, **common)
        self.cells = [Parts([*served, failed]), Parts(alone), Parts(loaded), Parts(scored)]

    def night(self, night: int, random: Random) -> Iterator[tuple[str, str]]:
        """Each record of one night as the name of its file and its text."""
        for place, parts in enumerate(self.cells):
            failing = place == 0 and random.randrange(FAILING) == 0
            yield parts.record(night, VARIANTS if failing else random.randrange(VARIANTS), 10 * place)


class Parts:
    """Records of one cell as text with holes for what differs from night to night."""

    def __init__(self, records: list[Record]) -> None:
        self.folder = records[0].cell.id[:16]
        first = records[0].model_dump(mode="json")
        self.cell, self.config = json.dumps(first["cell"]), json.dumps(first["config"])
        self.outcomes = [json.dumps(one.model_dump(mode="json")["outcome"]) for one in records]
        assert all(isinstance(one.outcome, Completed | Failed) for one in records)

    def record(self, night: int, variant: int, minutes: int) -> tuple[str, str]:
        """One record of a night."""
        started = builders.START + timedelta(days=night, minutes=minutes)
        name = f"{started:%Y%m%dT%H%M%S}-r0-{night:012x}.json"
        text = (
            f'{{"schema_version":3,"id":"{night:012x}","run_id":"run-{night:04d}","suite":"{SUITE}",'
            f'"cell":{self.cell},"repeat":0,"started_at":"{started:%Y-%m-%dT%H:%M:%SZ}","duration_s":12.5,'
            f'"group":null,"config":{self.config},"environment":{_environment_text(night)},'
            f'"outcome":{self.outcomes[variant]},"origin":null}}\n'
        )
        return f"{self.folder}/{name}", text


_ENVIRONMENTS: dict[int, str] = {}


def _environment_text(night: int) -> str:
    if night not in _ENVIRONMENTS:
        _ENVIRONMENTS[night] = environment(night).model_dump_json()
    return _ENVIRONMENTS[night]


def write_store(root: Path, models: int, nights: range) -> int:
    """Adds the records of some nights of so many models to a store; returns how many."""
    folder, written = root / SUITE, 0
    for number in range(models):
        cells, random = Cells(number), Random(1000 * nights.start + number)
        for parts in cells.cells:
            (folder / parts.folder).mkdir(parents=True, exist_ok=True)
        for night in nights:
            for path, text in cells.night(night, random):
                (folder / path).write_text(text, encoding="utf-8")
                written += 1
    return written


# What is timed ---------------------------------------------------------------------------------------------------


def index(root: Path) -> None:
    """Brings the index up to date."""
    from harness.store import Store
    from harness.store_index import open_index

    open_index(Store(root), SUITE)


def report(root: Path) -> None:
    """Renders the site beside the store."""
    from harness.pages.render import render_site
    from harness.resources import shipped_folders
    from harness.store import Store

    render_site(Store(root), root.parent / "site", folders=shipped_folders())


def _part(name: str, root: Path) -> dict[str, float]:
    """Runs `index` or `report` in a process of its own: its seconds, those of processors, and its peak of memory."""
    folders = [str(Path(__file__).parents[level]) for level in (1, 2)]
    done = subprocess.run(
        [sys.executable, __file__, name, str(root)], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _timed(name: str, root: Path) -> None:
    started = time.perf_counter()
    {"index": index, "report": report}[name](root)
    took = time.perf_counter() - started
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({
        "s": round(took, 2),
        "cpu_s": round(sum(one.ru_utime + one.ru_stime for one in used), 2),
        "peak_bytes": 1024 * sum(one.ru_maxrss for one in used),
    }))


def measure(root: Path, models: int, nights: int) -> dict[str, float]:
    """Seconds and bytes of every part, over a store that is made under `root`."""
    started = time.perf_counter()
    records = write_store(root, models, range(nights - 1))
    wrote = time.perf_counter() - started
    built = _part("index", root)
    records += write_store(root, models, range(nights - 1, nights))
    updated = _part("index", root)
    # the least of some: on a busy machine the same work takes a third longer now and then
    rendered = min((_part("report", root) for _ in range(REPORTS)), key=lambda one: one["cpu_s"])
    site = root.parent / "site"
    files = [file for file in site.rglob("*") if file.is_file()]
    return {
        "models": models, "nights": nights, "records": records, "write_s": round(wrote, 1),
        "index_s": built["s"], "night_s": updated["s"], "report_s": rendered["s"],
        "index_cpu_s": built["cpu_s"], "night_cpu_s": updated["cpu_s"], "report_cpu_s": rendered["cpu_s"],
        "index_peak_bytes": built["peak_bytes"], "report_peak_bytes": rendered["peak_bytes"],
        "index_bytes": (root / SUITE / "index.parquet").stat().st_size,
        "index_html_bytes": (site / "index.html").stat().st_size, "site_files": len(files),
        "site_bytes": sum(file.stat().st_size for file in files),
    }


if __name__ == "__main__":
    if sys.argv[1] in ("index", "report"):
        _timed(sys.argv[1], Path(sys.argv[2]))
    else:
        with TemporaryDirectory() as temporary:
            print(json.dumps(measure(Path(temporary) / "results", int(sys.argv[1]), int(sys.argv[2]))))
