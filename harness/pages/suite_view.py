"""One suite as its pages see it: summaries, groups, the leading load and score, and where its pages lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from statistics import stdev

from harness.accounting import flops_per_token
from harness.architecture import Architecture
from harness.description import experts_words
from harness.history import Histories
from harness.matching import score_words
from harness.metrics import METRICS, Metric, metric_of
from harness.pages.parts import Link, RecordIndex, Slugs
from harness.quantities import Scale, count_of, grouped, listed, plain, scale_of, with_unit
from harness.ranking import Contest, contest, singles_of, why_out
from harness.scenario import MemoryScenario, QualityScenario, RoutingScenario, ServingScenario
from harness.stats import Estimate, counted
from harness.suite import Suite
from harness.summary import Gap, ModelSummary, OperatingPoint, PointKey


@dataclass(frozen=True)
class SuiteView:
    """What the pages of one suite are made from."""

    name: str
    title: str
    description: str
    slug: str
    """Its part of the names of its files; empty for the suite that leads."""
    models: tuple[ModelSummary, ...]
    groups: tuple[ModelSummary, ...]
    """Groups of at least two trainings."""
    point: PointKey | None
    """The operating point of the table's speed columns; None where nothing was served."""
    tasks: tuple[str, ...]
    score: str
    """The key of the estimate that ranks: `mean_score` or `score:<task>`."""
    records: RecordIndex
    page_of: Mapping[str, str]
    """Model -> its page, relative to the site's root."""
    argument: str = ""
    """How a command names it; see `harness.pages.commands.suite_argument`."""
    asks_for_routing: bool | None = None
    """Whether its file asks for routing; None where that file is not known."""
    problems: tuple[str, ...] = ()
    """Record files that could not be read."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """Model -> its licence, where anybody states one."""
    histories: Histories | None = None
    """What all nights measured; None where that is not known."""

    @property
    def path(self) -> str:
        """Of its leaderboard page, relative to the site's root."""
        return f"suite-{self.slug}.html" if self.slug else "index.html"

    def file(self, stem: str, ending: str = "html") -> str:
        """The name of one of its files in the site's root: `pairs.html`, of another suite `pairs-<slug>.html`."""
        return f"{stem}{'-' if self.slug else ''}{self.slug}.{ending}"

    @property
    def newest(self) -> datetime:
        """When the newest record was taken."""
        return max(model.started_at for model in self.models)

    def link(self, summary: ModelSummary) -> Link:
        """A model by name with its page; a group has none of its own."""
        return Link(self.page_of.get(summary.model, "") if not summary.members else "", plain(summary.model, 120))

    @cached_property
    def standing(self) -> Contest:
        """The models by the score that ranks."""
        return contest_of(self.models, self.score, self.point)

    @cached_property
    def recipe_standing(self) -> Contest:
        """The groups by the score that ranks."""
        return contest_of(self.groups, self.score, self.point)

    @property
    def ranks(self) -> dict[str, tuple[int, int]]:
        """The range of ranks of every model that may be ranked."""
        return self.standing.ranks

    def why_unranked(self, model: ModelSummary) -> str:
        """Why a model, or a group, has no rank, as the end of a sentence."""
        return (self.recipe_standing if model.members else self.standing).out.get(model.model, "nothing was scored")

    def evidence(self, model: ModelSummary, key: str, point: PointKey | None = None) -> str:
        """The name of an estimate in addresses and for its drawer: `<suite>.<model>.<metric>`, then task or point.

        A `point` is left out of the name of what is not measured at one. Empty for a model without a page.
        """
        name = self.evidence_of.get((model.model, bool(model.members)))
        if name is None:
            return ""
        if key.startswith("score:"):
            return f"{name}.score.{self.task_names[key.removeprefix('score:')]}"
        if key.startswith(PART):
            return f"{name}.parameters.{key.removeprefix(PART).replace('_', '-')}"
        loaded = self.metric(key).scenario in ("serving", "routing") or key == MEMORY_AT_LOAD
        at = self.point_names.get(point) if point and loaded else None
        return f"{name}.{key}.{at}" if at else f"{name}.{key}"

    def metric(self, key: str) -> Metric:
        """The metric behind a key; that of a task as its scores are: which way is better, and whether it is a share."""
        return self._scores[key] if key in self._scores else _metric_of(key, ())

    @cached_property
    def _scores(self) -> dict[str, Metric]:
        """The metrics of all tasks by key."""
        keys = (f"score:{task}" for task in self.task_names)
        return {key: metric_of(key, (*self.models, *self.groups)) for key in keys}

    @cached_property
    def evidence_of(self) -> dict[tuple[str, bool], str]:
        """The first part of the names of estimates, `<suite>.<model>`, by model and whether it is a group.

        The file with them is `evidence/<suite>/<model>.js`. A group's name begins with `_`, which no model's does.
        """
        found = {}
        for model in self.models:
            path = self.page_of.get(model.model)
            if path:
                found[model.model, False] = path.removeprefix("models/").removesuffix(".html").replace("/", ".")
        if not found:
            return {}
        folder, slugs = next(iter(found.values())).split(".")[0], Slugs()
        return found | {(one.model, True): f"{folder}._{slugs.of(one.model, one.model)}" for one in self.groups}

    @cached_property
    def point_names(self) -> dict[PointKey, str]:
        """A short name for every operating point of the suite, for addresses."""
        slugs = Slugs()
        keys = sorted({point.key for model in (*self.models, *self.groups) for point in model.points})
        keys += [] if self.point is None or self.point in keys else [self.point]
        return {key: slugs.of(key, f"{key.name} {key.words}") for key in keys}

    @cached_property
    def task_names(self) -> dict[str, str]:
        """A short name for every task of the suite, for addresses."""
        slugs = Slugs()
        known = dict.fromkeys((*self.tasks, *(task for model in self.models for task in model.scores)))
        return {task: slugs.of(task, task) for task in known}

    @property
    def score_title(self) -> str:
        """The ranking score in words."""
        return score_words(self.score)


def leading_point(models: Iterable[ModelSummary], concurrency: int | None = None) -> PointKey | None:
    """The point that most models were measured at (of `concurrency` where given), the most concurrent of those.

    Closed loops go before other loads. Where nothing was served, the point that most models failed at.
    """
    known = list(models)
    keys = Counter(point.key for model in known for point in model.points) or Counter(
        PointKey.of(gap.scenario) for model in known for gap in model.gaps if isinstance(gap.scenario, ServingScenario)
    )
    at = {key: n for key, n in keys.items() if concurrency is not None and key.concurrency == concurrency}
    wanted = at or dict(keys)
    wanted = {key: n for key, n in wanted.items() if key.kind == "closed"} or wanted
    return max(wanted, key=lambda key: (wanted[key], key.level, key), default=None)


def all_tasks(models: Iterable[ModelSummary]) -> tuple[str, ...]:
    """Every task that any model was scored on or failed at, in the order in which they are first met."""
    found: dict[str, None] = {}
    for model in models:
        found |= dict.fromkeys(model.scores)
        found |= {gap.scenario.task: None for gap in model.gaps if isinstance(gap.scenario, QualityScenario)}
    return tuple(found)


def tasks_of(definition: Suite | None, models: Iterable[ModelSummary]) -> tuple[str, ...]:
    """The tasks of a suite in its order, then what else any model was scored on."""
    wanted = definition.quality.tasks if definition and definition.quality else ()
    return tuple(dict.fromkeys((*wanted, *all_tasks(models))))


def leading_score(tasks: Sequence[str], wanted: str | None = None) -> str:
    """The key of the score that ranks: that of the only task or of the `wanted` one, else the mean over all."""
    if len(tasks) == 1 or wanted in tasks:
        return f"score:{wanted if wanted in tasks else tasks[0]}"
    return "mean_score"


def subjects_of(models: Sequence[ModelSummary], groups: Sequence[ModelSummary]) -> tuple[ModelSummary, ...]:
    """What is compared: recipes where there are several trainings, and the models that belong to none of those."""
    return (*groups, *singles_of((*groups, *models)))


PART = "parameters:"
"""How the key of a part of a model's parameters begins; see `harness.pages.counted.PART_TITLES`."""
MEMORY_AT_LOAD = "weights_and_cache_bytes"
"""The metric of memory that depends on the load."""


# What a model is -------------------------------------------------------------------------------------------------


def kind_of(summary: ModelSummary) -> str:
    """sparse, dense or unknown: the shape and colour of a model on every page."""
    return {True: "sparse", False: "dense", None: "unknown"}[summary.is_moe]


def kind_text(summary: ModelSummary) -> str:
    """The structure in a few words: experts and how many a token uses, shared ones, dense layers; or "dense"."""
    architecture = summary.architecture
    if architecture is None:
        return "not counted"
    if not architecture.is_moe:
        return "dense"
    kinds = dict.fromkeys(experts_words(part) for _, part in architecture.moe_groups)
    plain_layers = architecture.layers - sum(count for count, _ in architecture.moe_groups)
    tail = f", {count_of(plain_layers, 'dense layer')}" if plain_layers else ""
    return listed(kinds) + tail


def hardware_text(summary: ModelSummary) -> str:
    """What measured: the accelerator with its number and memory, else the processor with its cores and memory."""
    environment = summary.environment
    if environment.accelerators:
        first = environment.accelerators[0]
        number = f"{summary.subject.tensor_parallel} \u00d7 " if summary.subject.tensor_parallel > 1 else ""
        return f"{number}{plain(first.name, 80)}, {bytes_text(first.memory_bytes)}"
    cores = count_of(environment.cores, "core")
    return f"{plain(environment.processor, 80)}, {cores}, {bytes_text(environment.memory_bytes)}"


def bytes_text(size: float) -> str:
    """A size with its unit."""
    return with_unit("bytes", size)


def point_text(key: PointKey) -> str:
    """The workload of a point, without its load: "32 → 16 tokens"."""
    return f"{_length_text(key.prompt)} → {_length_text(key.output)} tokens"


def _length_text(words: str) -> str:
    return grouped(int(words), 0) if words.isdigit() else plain(words, 80)


def load_text(key: PointKey) -> str:
    """The load of a point: "8 concurrent requests", "2 requests/s", "offline"."""
    return key.words if key.concurrency is None else count_of(key.concurrency, "concurrent request")


def at_load(key: PointKey) -> str:
    """The load of a point within a sentence: "at 8 concurrent requests", "at 2 requests/s", "offline", "replayed"."""
    return f"at {load_text(key)}" if key.kind in ("closed", "open") else load_text(key)


def workload_titles(keys: Iterable[PointKey]) -> dict[Hashable, str]:
    """A title for every workload by `PointKey.workload`: its name, with its lengths where another one has that too."""
    known = {key.workload: key for key in keys}
    named = Counter(key.name for key in known.values())
    alike = Counter((key.name, point_text(key)) for key in known.values())
    titles: dict[Hashable, str] = {}
    for workload, key in known.items():
        more = [point_text(key)] if named[key.name] > 1 else []
        more += [f"version {key.version}"] if alike[key.name, point_text(key)] > 1 else []
        titles[workload] = plain(key.name, 60) + (f" ({', '.join(more)})" if more else "")
    return titles


# Estimates -------------------------------------------------------------------------------------------------------

VARIATION = Metric(
    key="output_variation", title="Variation", unit="1", better="none", scenario="serving",
    formula="coefficient of variation of the output tokens/s over repeats: s / mean",
)


def variation_of(estimate: Estimate | None) -> float | None:
    """The coefficient of variation over repeats, s / mean; None with fewer than two."""
    if estimate is None or len(estimate.values) < 2 or not estimate.value:
        return None
    return stdev(estimate.values) / abs(estimate.value)


def estimate_of(summary: ModelSummary, key: str, point: PointKey | None) -> Estimate | None:
    """The estimate of a metric at the leading point; FLOPs are counted even where serving failed."""
    if key == VARIATION.key:
        spread = variation_of(summary.estimate("output_tokens_per_s", point))
        return None if spread is None else counted(spread)
    found = summary.estimate(key, point)
    if found is None and key == "decode_flops_per_token" and point and isinstance(summary.architecture, Architecture):
        context = point.prompt_tokens + point.output_tokens / 2
        return counted(flops_per_token(summary.architecture, context=context).total)
    return found


_NOTED = {"joules_per_output_token": "no energy: ", "usd_per_million_output_tokens": "no cost: "}
NO_UTILISATION = "no utilisation: "
"""How those notes of a point begin that the section on the roofline tells."""
NOTED = (*_NOTED.values(), NO_UTILISATION)
"""How those notes of a point begin that say why it lacks a metric."""
_UNKNOWN = {
    "steady_output_tokens_per_s": (
        "no slot was given a second request, or all were handed over before each slot had its first token"
    ),
    "goodput_requests_per_s": "the suite sets no limits",
    "goodput_share": "the suite sets no limits",
    "longest_context_tokens": "the cache's capacity was not measured",
    VARIATION.key: "it takes at least two repeats",
}


def why_unknown(key: str, points: Sequence[OperatingPoint]) -> str:
    """Why none of some measured points has a metric, in words."""
    start = _NOTED.get(key)
    noted = dict.fromkeys(note for point in points for note in point.notes if start and note.startswith(start))
    if start and noted:
        return listed([plain(note.removeprefix(start), 200) for note in noted])
    if key != VARIATION.key and all(point.origins for point in points):
        tools = dict.fromkeys(plain(one.tool, 80) for point in points for one in point.origins)
        return f"{listed(tools)} does not tell"
    return _UNKNOWN.get(key, "not measured")


def comparable(summary: ModelSummary, key: str, point: PointKey | None) -> Estimate | None:
    """The estimate where it may be ranked or compared: no score or speed of random weights, no flagged timing."""
    return None if why_out(summary, _metric_of(key, (summary,)), point) else estimate_of(summary, key, point)


def contest_of(summaries: Sequence[ModelSummary], key: str, point: PointKey | None) -> Contest:
    """Who competes by a metric at a point, all of them models or all groups; see `harness.ranking`."""
    return contest(summaries, _metric_of(key, summaries), point, lambda one: estimate_of(one, key, point))


def gaps_of(summary: ModelSummary, key: str, point: PointKey | None) -> list[Gap]:
    """The cells without a measurement on which a metric depends."""
    return [gap for gap in summary.gaps if _concerns(gap, key, point)]


def _concerns(gap: Gap, key: str, point: PointKey | None) -> bool:
    scenario = gap.scenario
    if isinstance(scenario, QualityScenario):
        return key in ("mean_score", f"score:{scenario.task}")
    metric = VARIATION if key == VARIATION.key else METRICS.get(key)
    if isinstance(scenario, MemoryScenario):
        return metric is not None and metric.scenario == "memory"
    if isinstance(scenario, RoutingScenario):
        return False
    return metric is not None and metric.scenario == "serving" and PointKey.of(scenario) == point


def _metric_of(key: str, summaries: Iterable[ModelSummary]) -> Metric:
    return VARIATION if key == VARIATION.key else metric_of(key, summaries)


def scale_for(view: SuiteView, key: str, factor: float = 1.0) -> Scale:
    """One scale for all models of a suite."""
    found = (estimate_of(model, key, view.point) for model in view.models)
    values = [one.value * factor for one in found if one is not None]
    return scale_of_metric(view.metric(key), values)


_PER = {"joules_per_output_token": "/token", "usd_per_million_output_tokens": "/M tokens"}
"""What the units of prices leave out."""


def scale_of_metric(metric: Metric, values: Iterable[float]) -> Scale:
    """One scale for values of a metric; the unit of a price says for what it is."""
    scale = scale_of(metric.unit, values)
    return Scale(scale.unit + _PER.get(metric.key, ""), scale.divisor)
