"""Stores from which the tests of the pages render sites."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import builders

from harness.pages.render import render_site
from harness.record import Completed, Origin, Record, ReportedMeasurement, ServingMeasurement, WarmUp
from harness.resources import Folders
from harness.scenario import Offline, OpenLoop, QualityScenario, ServingScenario
from harness.stats import Estimate
from harness.store import Store
from harness.suite import Suite, parse_suite
from harness.summary import ModelSummary, PointKey

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    Visit = Callable[..., Page]

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
SUITES = TEMPLATES.parent / "suites"
HOSTILE = "</script><script>alert(1)</script>\u202e{{ 7*7 }}'\"&<img src=x onerror=alert(1)>"

# Text whose contrast with the colour behind it is below 4.5 (3 for large text), as "text: ratio".
POOR_CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || [])
    .map((part, i) => Number(part) * (text.startsWith("color") && i < 3 ? 255 : 1));
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || !element.checkVisibility() || element.closest("svg, script, .unseen")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(parse(style.color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) poor.push(`${node.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


def store_of(root: Path, records: Iterable[Record]) -> Store:
    """A store that holds the records."""
    store = Store(root)
    for record in records:
        store.append(record)
    return store


def render(store: Store, out: Path, suites: list[str] | None = None, *, catalog: bool = False) -> Path:
    """The site of a store with the project's own templates, and with the shipped catalog where asked for."""
    return render_site(store, out, suites, folders=Folders(TEMPLATES, SUITES if catalog else None))


def until(page: Page, expression: str, arg: object = None, *, timeout_s: float = 15.0) -> None:
    """Waits until an expression of the page is true. On a page that may still be read it must not fail (use `?.`).

    Playwright's own `wait_for_function` has the page evaluate text whenever it looks again, which the policy of the
    report in one file forbids; `page.evaluate` comes through the debugger and may.

    Raises:
        AssertionError: It was not true in time.
    """
    end = time.monotonic() + timeout_s
    while not _holds(page, expression, arg):
        assert time.monotonic() < end, f"{page.url}: not in {timeout_s:g} s: {expression}"
        page.wait_for_timeout(20)


def becomes(page: Page, read: Callable[[], object], wanted: object, *, timeout_s: float = 15.0) -> None:
    """Waits until what is read of the page is as wanted.

    Raises:
        AssertionError: It was not in time.
    """
    end = time.monotonic() + timeout_s
    while (found := read()) != wanted and time.monotonic() < end:
        page.wait_for_timeout(20)
    assert found == wanted


def follow(page: Page, link: Locator) -> None:
    """Follows a link to another file and waits until that is read and drawn."""
    page.evaluate("document.documentElement.dataset.left = ''")
    link.click()
    page.wait_for_selector("html[data-ready][data-drawn]:not([data-left])", state="attached")


def search(page: Page, text: str, label: str = "Search models") -> None:
    """Types into the search of that label and waits until the page has taken it."""
    page.get_by_role("searchbox", name=label).fill(text)
    until(page, "text => (new URLSearchParams(location.hash.split('?')[1]).get('q') || '') === text", text)


def _holds(page: Page, expression: str, arg: object) -> bool:
    from playwright.sync_api import Error  # Most that import this module open no browser.

    try:
        return bool(page.evaluate(expression, arg))
    except Error as error:
        if "context was destroyed" in str(error):  # The page that was asked is being left.
            return False
        raise


def awkward_records() -> list[Record]:
    """Models beside the small suite that failed, were refused, have hostile names or random weights."""
    dummy = builders.subject("dummy-moe", weights="dummy")
    timings = [
        builders.serving_record(
            model="dummy-moe", subject=dummy, repeat=repeat, concurrency=16, tokens_per_s=9000.0 + repeat, minutes=510,
        )
        for repeat in range(3)
    ]
    at_16 = builders.serving_scenario(16)
    return [
        *timings,
        builders.failed_record(
            model="broken", scenario=at_16, error="out-of-memory", message="needed more than there is", minutes=500,
        ),
        builders.refused_record(model="huge", scenario=at_16, minutes=501),
        builders.failed_record(
            model="dense-total", scenario=builders.quality_scenario("sort"), error="timeout", message="too slow",
            repeat=1, minutes=502,
        ),
        builders.failed_record(model=HOSTILE, scenario=at_16, message=HOSTILE, minutes=503),
    ]


def hostile_records() -> list[Record]:
    """A suite whose models, recipe, task, workload and messages are all hostile; a dense one makes a pair."""
    names = [f"{HOSTILE} {number}" for number in range(4)]
    scenario = builders.serving_scenario(4, name=HOSTILE)
    records = [
        record
        for name in names[:2]
        for record in (
            builders.quality_record(model=name, task=HOSTILE, group=HOSTILE, metric=HOSTILE),
            builders.serving_record(model=name, scenario=scenario, group=HOSTILE),
        )
    ]
    records.append(builders.failed_record(model=names[2], scenario=scenario, error=HOSTILE, message=HOSTILE))
    other = builders.serving_scenario(8, name=HOSTILE)
    records += [builders.serving_record(model=name, scenario=other, group=HOSTILE) for name in names[:2]]
    records += [
        builders.serving_record(model=names[3], scenario=one, config=builders.CONFIGS["dense-active"])
        for one in (scenario, other)
    ]
    records.append(builders.skipped_record(model=names[3], scenario=builders.serving_scenario(16), reason=HOSTILE))
    return [record.model_copy(update={"suite": "hostile"}) for record in records]


def seed_records(seeds: int = 3, *, suite: str = "seeds", speed_spread: float = 0.02) -> list[Record]:
    """The small suite with several trainings a recipe, which differ in their scores and a little in their speeds."""
    generator, speeds = random.Random(3), random.Random(4)
    records = []
    for record in builders.small_suite_records(repeats=2, items=100):
        for seed in range(seeds):
            recipe = record.cell.subject.model
            subject = record.cell.subject.model_copy(update={"model": f"{recipe}-seed{seed}"})
            cell = record.cell.model_copy(update={"subject": subject})
            changes = {"cell": cell, "group": recipe, "suite": suite, "id": f"{record.id[:8]}{seed:04d}"}
            if isinstance(record.cell.scenario, QualityScenario):
                task = record.cell.scenario.task
                accuracy = builders.ACCURACY[recipe][task] + generator.gauss(0, 0.02)
                items = tuple(float(generator.random() < accuracy) for _ in range(100))
                outcome = builders.quality_record(model=recipe, task=task, item_scores=items).outcome
                assert isinstance(outcome, Completed)
                changes["outcome"] = outcome
            elif isinstance(record.cell.scenario, ServingScenario):
                assert isinstance(record.outcome, Completed)
                assert isinstance(record.outcome.measurement, ServingMeasurement)
                rate = (record.outcome.measurement.output_tokens_per_s or 0) * speeds.gauss(1, speed_spread)
                again = builders.serving_record(scenario=record.cell.scenario, tokens_per_s=rate)
                changes["outcome"] = again.outcome
            records.append(record.model_copy(update=changes))
    return records


VARIED_LICENCES = ("Apache-2.0", "MIT", "Own & odd <licence>", "")
_VARIED_DEVICES = ("Example GPU", "Example GPU 2", "Example CPU")
_VARIED_PRECISIONS = ("bfloat16", "float16")
_VARIED_SCALES = (1, 8, 64)
"""Factors of the widths of the small suite's shapes: from thousands of parameters to billions."""


def varied_records(models: int = 24) -> list[Record]:
    """A suite `varied` whose models differ in size, kind, device and precision; every seventh failed at 16 requests.

    Weights of every fifth do not fit 80 GB; every ninth has random weights.
    """
    generator = random.Random(24)
    records: list[Record] = []
    for index in range(models):
        kind = list(builders.CONFIGS)[index % 4]
        factor = _VARIED_SCALES[index % 3]
        widths = ("hidden_size", "intermediate_size", "vocab_size", "moe_intermediate_size",
                  "shared_expert_intermediate_size")
        config = {key: value * factor if key in widths else value for key, value in builders.CONFIGS[kind].items()}
        device = _VARIED_DEVICES[index % 3 if index % 2 else 0]
        subject = builders.subject(
            f"varied-{index:02}-{kind}", accelerator=device, precision=_VARIED_PRECISIONS[index % 5 == 0],
            weights="dummy" if index % 9 == 8 else "checkpoint",
        )
        on_gpu = builders.accelerated(device) if "GPU" in device else builders.ENVIRONMENT
        made: dict[str, Any] = {"subject": subject, "config": config, "environment": on_gpu, "suite": "varied"}
        for concurrency in (1, 16):
            at = builders.serving_scenario(concurrency)
            if concurrency == 16 and index % 7 == 3:
                records.append(builders.failed_record(scenario=at, error="out-of-memory", message="too large", **made))
                continue
            speed = generator.uniform(50, 500) * concurrency**0.8
            records += [
                builders.serving_record(scenario=at, repeat=repeat, tokens_per_s=speed * (1 + 0.01 * repeat), **made)
                for repeat in range(2)
            ]
        records.append(builders.memory_record(weights_bytes=10**9 if index % 5 else 10**11, **made))
        for task in builders.TASKS:
            scores = tuple(float(generator.random() < 0.3 + 0.02 * index) for _ in range(60))
            records.append(builders.quality_record(task=task, item_scores=scores, **made))
    return records


def varied_suite(models: int = 24) -> Suite:
    """The suite file of `varied_records`, which says licences of three quarters of its models."""
    names = [f"varied-{index:02}-{list(builders.CONFIGS)[index % 4]}" for index in range(models)]
    listed = "".join(
        f"  - {{name: {name}, path: {name}{f', license: {licence!r}' if licence else ''}}}\n"
        for index, name in enumerate(names) for licence in [VARIED_LICENCES[index // 4 % 4]]
    )
    return parse_suite(
        f"name: varied\ntitle: Varied models\nmodels:\n{listed}"
        "serving: [{prompt_tokens: 32, output_tokens: 16, concurrency: [1, 16]}]\n"
        f"quality: {{tasks: [{', '.join(builders.TASKS)}]}}\nleaderboard: {{concurrency: 16}}\n",
        where="varied.yaml",
    )


_CROSSING = {"moe-8x2": 0.86, "moe-fine": 0.78, "dense-active": 0.74, "dense-total": 0.72}
"""By which power of the concurrency a model's output speed grows in `load_records`: sparse ones overtake."""


def load_records(repeats: int = 3) -> list[Record]:
    """A suite with every kind of load, whose sparse models overtake; some cells are skipped, flagged or imported."""
    generator = random.Random(11)
    records: list[Record] = []
    for repeat in range(repeats):
        for model, power in _CROSSING.items():
            def speed(load: float, model: str = model, power: float = power) -> float:
                return builders.SPEED_AT_1[model] * float(load**power) * generator.gauss(1, 0.015)

            records += [
                builders.serving_record(
                    model=model, repeat=repeat, tokens_per_s=speed(load), minutes=len(records),
                    scenario=builders.serving_scenario(load, warmup_s=10.0, min_duration_s=0.05),
                )
                for load in (1, 2, 4, 8, 16, 32)
            ]
            records.append(builders.serving_record(
                model=model, repeat=repeat, tokens_per_s=speed(40),
                scenario=builders.serving_scenario(load=Offline(), requests=32),
            ))
            records += [_open_record(model, repeat, rate, speed(rate)) for rate in (2.0, 4.0, 8.0, 16.0)]
    past = "past saturation: the output rate rose by less than 5% at 16 and 32 concurrent requests"
    records.append(builders.skipped_record(model="dense-total", scenario=builders.serving_scenario(64), reason=past))
    records += [_short_of(record) for record in records if _is_at(record, "moe-fine", 4)]
    records.append(_imported_record())
    return [record.model_copy(update={"suite": "loads"}) for record in records]


def _is_at(record: Record, model: str, concurrency: int) -> bool:
    scenario = record.cell.scenario
    at = scenario.concurrency if isinstance(scenario, ServingScenario) else None
    return (record.cell.subject.model, at) == (model, concurrency)


def _short_of(record: Record) -> Record:
    """A newer record of the same point, from a cell that asked for more requests than it timed."""
    scenario = record.cell.scenario.model_copy(update={"requests": 64})
    cell = record.cell.model_copy(update={"scenario": scenario})
    started = record.started_at + timedelta(days=1)
    return record.model_copy(update={"cell": cell, "id": f"short{record.id[:7]}", "started_at": started})


def _open_record(model: str, repeat: int, rate: float, tokens_per_s: float) -> Record:
    """An open loop in which every fourth request waits, the longer the higher the rate."""
    scenario = builders.serving_scenario(load=OpenLoop(requests_per_s=rate), requests=24)
    tpot_s = 16 / tokens_per_s
    arrivals = [index / rate for index in range(scenario.requests)]
    waits = [0.001 * rate * (index % 4 == 3) for index in range(scenario.requests)]
    starts = [arrival + wait for arrival, wait in zip(arrivals, waits, strict=True)]
    times = [[start + 2 * tpot_s / (1 + rate / 8) + tpot_s * step for step in range(16)] for start in starts]
    steps, requests = builders.timed_requests(times, arrivals)
    requests = tuple(
        one.model_copy(update={"started_s": start}) for one, start in zip(requests, starts, strict=True)
    )
    measured = ServingMeasurement(
        duration_s=max(steps), step_time_s=0.5 * max(steps), idle_time_s=0.49 * max(steps), steps_s=steps,
        requests=requests, warmup=WarmUp(duration_s=0.1, requests=16, steady=False), no_energy="no accelerator",
    )
    return builders.record(scenario, Completed(measurement=measured), model=model, repeat=repeat)


def _imported_record() -> Record:
    """A result of another tool, without timings."""
    measured = ReportedMeasurement(values={
        "output_tokens_per_s": 1234.5, "requests_per_s": 77.2, "ttft_mean_s": 0.021, "ttft_p50_s": 0.02,
        "ttft_p99_s": 0.05, "tpot_p50_s": 0.006,
    })
    origin = Origin(tool="vllm bench serve", version="0.32.0", file="bench.json", fingerprint="sha256:" + "0" * 64)
    subject = builders.subject("imported-moe", engine={}, threads=None)
    return builders.record(
        builders.serving_scenario(16), Completed(measurement=measured), subject=subject, origin=origin,
    )


def with_point(model: ModelSummary, key: PointKey, estimates: Mapping[str, Estimate]) -> ModelSummary:
    """A model that knows something else of one operating point."""
    points = (replace(point, estimates=estimates) if point.key == key else point for point in model.points)
    return replace(model, points=tuple(points))
