"""The section's first sentences, made from its numbers and never stronger than them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.pages.experts_section.matrix import Extreme, extremes
from harness.pages.experts_section.works import (
    NAME_LIMIT,
    PartOfWork,
    by_name,
    chance_dead,
    chance_variation,
    experts_text,
    title_of,
)
from harness.quantities import capitalised, count_of, grouped, listed, plain, significant
from harness.routing.summary import DistinctPoint, PhaseRouting, Specialisation
from harness.summary import RoutedWork

_ENOUGH_STEPS = 10
_NEAR_CHANCE = 1.5


def lead_of(main: PartOfWork, works: Sequence[RoutedWork], specialisation: Specialisation | None) -> tuple[str, ...]:
    """What was routed and how evenly; distinct experts; what differs between pieces of work."""
    sentences = [_balance(main), _distinct(main)]
    if specialisation is not None:
        sentences.append(_difference(specialisation, by_name(works)))
    return tuple(sentence for sentence in sentences if sentence)


def _balance(part: PartOfWork) -> str:
    routing, overall = part.routing, part.routing.overall
    layers = [one.layer for one in routing.layers]
    chance = chance_variation(routing.layers)
    beyond = overall.variation > _NEAR_CHANCE * chance
    variation = (
        f"the variation over experts is {significant(overall.variation)}, where uniform routing of so many tokens "
        f"would show about {significant(chance, 2)} by chance"
    )
    if not beyond:
        variation += ", so that this sample does not tell the router from an even one"
    measures = f"Gini {significant(overall.gini)}, entropy {significant(overall.entropy)} of the most there can be"
    return (
        f"{capitalised(_tokens(part))}, the busiest of the {experts_text(layers)} experts of a layer "
        f"{'has' if len(layers) == 1 else 'has on average'} {significant(overall.max_over_mean)} times an even share; "
        f"{variation} ({measures}). {_dead(routing)}"
    )


def _tokens(part: PartOfWork) -> str:
    what = "prompt tokens" if part.phase == "prefill" else "decoded tokens"
    kind = "the workload" if part.work.source == "serving" else "the task"
    return f"over {grouped(part.routing.tokens, 0)} {what} of {kind} {title_of(part.work)}"


def _dead(routing: PhaseRouting) -> str:
    every, dead = sum(one.layer.experts for one in routing.layers), routing.overall.dead
    across = "" if len(routing.layers) == 1 else f" of {len(routing.layers)} layers"
    if not dead:
        return f"Each of the {grouped(every, 0)} experts{across} got a token."
    expected = chance_dead(routing.layers)
    few = f", as many as uniform routing of so few tokens would leave ({significant(expected, 2)})"
    beyond = f"; uniform routing would leave {significant(expected, 2) if expected >= 0.05 else 'none'}"
    return (
        f"{grouped(dead, 0)} of the {count_of(every, 'expert')}{across} got none"
        f"{few if dead <= _NEAR_CHANCE * expected else beyond}."
    )


def _distinct(part: PartOfWork) -> str:
    point = telling_point(part.routing.distinct)
    if point is None:
        return ""
    ratio = point.measured / point.expected
    layers = [one.layer for one in part.routing.layers]
    if 0.995 <= ratio <= 1.005:
        beside = f"as uniform routing would ({significant(point.expected)})"
    else:
        beside = f"where uniform routing would use {significant(point.expected)} ({significant(ratio)} times as many)"
    noun = "decode" if part.phase == "decode" else "prefill"
    return (
        f"A {noun} step of {count_of(point.batch, 'token')} uses {significant(point.measured)} of a layer's "
        f"{experts_text(layers)} experts on average, {beside}."
    )


def telling_point(points: Sequence[DistinctPoint]) -> DistinctPoint | None:
    """The largest batch that enough steps had; where none had enough, the one that most had."""
    if not points:
        return None
    enough = [point for point in points if point.steps >= _ENOUGH_STEPS]
    return enough[-1] if enough else max(points, key=lambda point: (point.steps, point.batch))


def _difference(found: Specialisation, works: Mapping[str, RoutedWork]) -> str:
    most, least = extremes(found, works)
    if most.beyond_chance is False:
        return (
            f"Between {listed(_names_of(found))} routing differs by no more than {significant(most.bits)} bits "
            f"(Jensen-Shannon divergence, at most 1), which samples of this size can show by chance "
            f"(about {significant(most.chance or 0.0, 2)})."
        )
    text = f"Routing differs most between {most.a} and {most.b}: {_bits(most)}"
    if len(found.names) > 2:
        text += f"; least between {least.a} and {least.b}: {significant(least.bits)}"
    return text + "."


def _names_of(found: Specialisation) -> list[str]:
    """The names in a sentence; their number where they are many."""
    if len(found.names) > 4:
        return [f"the {len(found.names)} tasks"]
    return [plain(name, NAME_LIMIT) for name in found.names]


def _bits(one: Extreme) -> str:
    chance = "" if one.chance is None else f"; about {significant(one.chance, 2)} would be chance"
    return f"{significant(one.bits)} bits of divergence (0 alike, 1 disjoint{chance})"
