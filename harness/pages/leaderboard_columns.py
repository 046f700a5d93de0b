"""Which columns the leaderboard of a suite has, under which headings, and which of them are seen at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.metrics import METRICS
from harness.pages.parts import Column, Slugs
from harness.pages.suite_view import (
    VARIATION,
    SuiteView,
    at_load,
    estimate_of,
    gaps_of,
    point_text,
)
from harness.quantities import Scale, capitalised, plain
from harness.summary import PointKey

_SPEED_KEYS = (("output_tokens_per_s", "Output"), ("ttft_p50_s", "TTFT p50"), ("tpot_p50_s", "TPOT p50"))
_PRICES = (("joules_per_output_token", "Energy"), ("usd_per_million_output_tokens", "Cost"))
_MORE_SPEED = (
    ("steady_output_tokens_per_s", "Steady output"), ("total_tokens_per_s", "All tokens"),
    ("requests_per_s", "Requests"), ("goodput_requests_per_s", "Goodput"), ("goodput_share", "Within limits"),
    (VARIATION.key, "Variation"),
)
_LATENCIES = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL", "e2e": "End to end", "queue": "Queueing"}
_UTILISATION = ("mfu", "mbu", "time_share", "overhead", "submit_share")


@dataclass(frozen=True)
class ColumnGroup:
    """Columns under one heading; all of one group are seen at first, or none."""

    title: str
    span: int
    classes: str = ""
    name: str = ""
    """What it is called in the list of columns, where its title follows what a reader chooses."""


@dataclass(frozen=True)
class Spec:
    """A column before it is laid out: which estimate at which load, how many times, under which heading."""

    key: str
    title: str
    heading: str
    point: PointKey | None = None
    factor: float = 1.0
    later: bool = False
    """Whether it is hidden until a reader asks for it."""
    id: str = ""
    """Its name in an address; the key unless given."""


FIXED_COLUMNS = 4
"""Rank, model, kind and total parameters, before the metrics."""
TEXT_COLUMNS = (("licence", "Licence"), ("precision", "Precision"), ("hardware", "Hardware"), ("engine", "Engine"))
"""What a model was measured as: the last columns, in words."""


def column_specs(view: SuiteView) -> list[Spec]:
    """The metrics of the table in order, after the total parameters: those seen at first, then the others."""
    shown = [spec for spec in _shown(view) if _is_known(view, spec)]
    taken = {spec.key for spec in shown}
    rest = [spec for spec in _later(view, taken) if _is_known(view, spec)]
    return [*shown, *rest]


def _shown(view: SuiteView) -> list[Spec]:
    on_device = any("device_peak_bytes" in model.memory for model in view.models)
    at, speed = view.point, speed_heading(view.point)
    price = next((one for one in _PRICES if any(estimate_of(model, one[0], at) for model in view.models)), None)
    single, compute = len(view.tasks) == 1, _compute_heading("Compute and memory", at)
    return [
        Spec("active_parameters", "Active", "Parameters", at),
        *([] if single else [Spec("mean_score", "Mean", "Score", at)]),
        *([_task(view.tasks[0], Slugs(), "Score", at)] if single else []),
        *(Spec(key, title, speed, at) for key, title in (*_SPEED_KEYS, *([price] if price else []))),
        Spec("decode_flops_per_token", "FLOPs/token", compute, at),
        Spec("weights_bytes", "Weights", compute, at),
        Spec("kv_bytes_per_token", "KV per 1k", compute, at, 1000.0),
        Spec("device_peak_bytes" if on_device else "resident_peak_bytes", "Memory peak", compute, at),
    ]


def _later(view: SuiteView, taken: set[str]) -> list[Spec]:
    """Every other metric of the table of metrics."""
    at = view.point
    where = f" {at_load(at)}" if at else ""
    money, compute = f"Energy and cost{where}", _compute_heading("More on compute and memory", at)
    specs = []
    if len(view.tasks) > 1:
        slugs = Slugs()
        specs += [_task(task, slugs, "Tasks", at, later=True) for task in view.tasks]
    specs += [
        Spec(key, title, f"More on speed{where}", at, later=True) for key, title in _MORE_SPEED if key not in taken
    ]
    specs += [Spec(key, title, money, at, later=True) for key, title in _PRICES if key not in taken]
    known = taken | {spec.key for spec in specs if spec.point == at} | {"score", "mean_score", "total_parameters"}
    further = [(_place_of(key, where, compute), key) for key in METRICS if key not in known]
    order = dict.fromkeys(heading for heading in (
        f"Latency{where}", money, compute, f"Use of the device{where}",
        f"Routing{where}", f"More on speed{where}",
    ))
    specs += [
        Spec(key, _title_of(key), heading, at, later=True)
        for heading in order for place, key in further if place == heading
    ]
    return sorted(specs, key=lambda spec: [*dict.fromkeys(one.heading for one in specs)].index(spec.heading))


def _task(task: str, slugs: Slugs, heading: str, at: PointKey | None, *, later: bool = False) -> Spec:
    return Spec(f"score:{task}", plain(task, 60), heading, at, later=later, id=f"task-{slugs.of(task, task)}")


def _compute_heading(title: str, point: PointKey | None) -> str:
    """A heading over sizes and what is computed a token, which depends on the lengths of requests alone."""
    return f"{title}, {point_text(point)}" if point else title


def _place_of(key: str, where: str, compute: str) -> str:
    """The heading of a metric that is not seen at first, with the load at which it is read: that which leads."""
    metric = METRICS[key]
    if key.rsplit("_", 2)[0] in _LATENCIES:
        return f"Latency{where}"
    if metric.scenario == "routing":
        return f"Routing{where}"
    if any(part in key for part in ("joules", "power", "usd")):
        return f"Energy and cost{where}"
    if any(part in key for part in _UTILISATION):
        return f"Use of the device{where}"
    if metric.scenario in ("memory", "architecture") or "flops" in key:
        return compute
    return f"More on speed{where}"


def _title_of(key: str) -> str:
    latency, _, statistic = key.removesuffix("_s").rpartition("_")
    return f"{_LATENCIES[latency]} {statistic}" if latency in _LATENCIES else METRICS[key].title


def speed_heading(point: PointKey | None) -> str:
    """The heading over the columns of speed."""
    return f"Speed {at_load(point)}, {point_text(point)}" if point else "Speed"


def speed_columns(view: SuiteView, specs: Sequence[Spec]) -> list[Spec]:
    """Those of the columns that can be read at any load, in their order."""
    return [spec for spec in specs if spec.heading == speed_heading(view.point)]


def id_of(spec: Spec) -> str:
    """The name of a column in an address."""
    return spec.id or spec.key


def _is_known(view: SuiteView, spec: Spec) -> bool:
    """Whether there is anything to say of a metric: a value, or, where it is seen at first, a cell that failed."""
    always = not spec.later or spec.heading == "Tasks"
    return any(
        estimate_of(model, spec.key, spec.point) is not None
        or (always and model.gaps and gaps_of(model, spec.key, spec.point))
        for model in view.models
    )


# Heads -----------------------------------------------------------------------------------------------------------


def columns_of(view: SuiteView, specs: Sequence[Spec], scales: Sequence[Scale], total: Scale) -> tuple[Column, ...]:
    """Heads of all columns: rank, model, kind, total parameters, the metrics, and what is in words."""
    fixed = [
        Column("Rank", "by score", classes="rank frozen numeric", key="rank",
               help=f"By {view.score_title}, at whatever load; models whose intervals overlap share ranks"),
        Column("Model", classes="text frozen", key="model"),
        Column("Kind", classes="text roomy", key="kind", help="Routed experts, and how many of them a token uses"),
        Column("Total", total.unit, classes="numeric first-of-group roomy", key="total_parameters",
               help="Every parameter; the bar's solid part is active", first=True),
    ]
    starts = _starts(specs)
    words = [
        Column(title, classes=f"text later{' first-of-group' if not index else ''}", key=key, first=not index)
        for index, (key, title) in enumerate(TEXT_COLUMNS)
    ]
    return (
        *fixed,
        *(
            head_of(view, spec, scale.unit, first=start)
            for spec, scale, start in zip(specs, scales, starts, strict=True)
        ),
        *words,
    )


def _starts(specs: Sequence[Spec]) -> list[bool]:
    """Whether a group of columns starts at each."""
    before = ["Parameters", *(spec.heading for spec in specs)]
    return [spec.heading != heading for spec, heading in zip(specs, before, strict=False)]


def head_of(view: SuiteView, spec: Spec, unit: str, *, first: bool = False) -> Column:
    """The head of a metric's column."""
    metric = view.metric(spec.key)
    direction = "" if metric.better == "none" else metric.better
    classes = f"numeric {direction}{' first-of-group' if first else ''}{' later' if spec.later else ''}"
    classes += " roomy" if spec.key == "active_parameters" else ""
    said = capitalised(metric.formula)
    return Column(spec.title, unit, direction, said, " ".join(classes.split()), first, key=id_of(spec))


def column_groups(view: SuiteView, specs: Sequence[Spec]) -> tuple[ColumnGroup, ...]:
    """The headings over the columns."""
    speed = speed_heading(view.point)
    spans: dict[tuple[str, bool], int] = {("Parameters", False): 1}
    for spec in specs:
        spans[spec.heading, spec.later] = spans.get((spec.heading, spec.later), 0) + 1
    classes = {("Parameters", False): "roomy"}
    rest = tuple(
        ColumnGroup(title, span, classes.get((title, later), "later" if later else ""), "Speed" * (title == speed))
        for (title, later), span in spans.items()
    )
    last = ColumnGroup("Measured as", len(TEXT_COLUMNS), "later")
    return (ColumnGroup("", 1, "rank frozen"), ColumnGroup("", 1, "frozen"), ColumnGroup("", 1, "roomy"), *rest, last)
