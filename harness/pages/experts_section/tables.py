"""Tables of the section: balance, distinct experts, capacity and expert parallelism."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.pages.experts_section.numbers import Cell, Numbers, named_row
from harness.pages.experts_section.works import PHASE_WORDS, PartOfWork, chance_variation, layer_title, title_of
from harness.pages.parts import Block, BlockTable, Column, RecordIndex, TableRow, Value
from harness.quantities import Scale, count_of, grouped, scale_of, significant
from harness.routing.summary import Balance, DistinctPoint, LayerLoad, ParallelReplay
from harness.summary import RoutedWork

RowOf = Callable[[PartOfWork], TableRow]
_NONE = Value("\u2013")
_BALANCE = (
    Column("Busiest", "\u00d7 even share", "lower", "Load of the busiest expert over the mean load"),
    Column("Variation", "", "lower", "Coefficient of variation of the load: standard deviation over mean"),
    Column("By chance", "variation", "",
           "The variation under uniform routing of as many independent tokens: sqrt((1 - k/N) / (T k/N))"),
    Column("Gini", "", "lower", "0 where all experts have the same load, 1 - 1/N where one has all"),
    Column("Entropy", "of log N", "higher", "Entropy of the load's shares over log N: 1 where all are alike"),
    Column("No token", "experts", "lower", "Experts that no token chose, of all layers"),
)


def balance_table(parts: Sequence[PartOfWork], records: RecordIndex, numbers: Numbers) -> BlockTable:
    """One row a phase of each piece of work: means over layers."""
    columns = (
        Column("Work", classes="text frozen"), Column("Phase", classes="text"), Column("Tokens"), Column("Steps"),
        *_BALANCE, Column("Captured by", classes="text"), Column("Records", classes="text"),
    )

    def row(part: PartOfWork) -> TableRow:
        routing, work = part.routing, part.work
        links = records.links(work.records)
        experts = sum(one.layer.experts for one in routing.layers)
        cells = _balance(routing.overall, chance_variation(routing.layers), experts)
        place = (0, "all layers" if len(routing.layers) > 1 else "the layer")
        return named_row(
            PHASE_WORDS[part.phase], (_whole(routing.tokens), _whole(routing.steps)),
            numbers.row(part, "balance", place, _BALANCE, cells),
            (Value(work.tokens_method), Value(links=links) if links else Value("none")),
        )

    return BlockTable(columns, _blocks(parts, row))


def layer_table(work: RoutedWork, parts: Sequence[PartOfWork], numbers: Numbers) -> BlockTable:
    """Every layer of one piece of work, by phase."""
    columns = (
        Column("Phase", classes="text frozen"), Column("Layer", classes="text"), Column("Tokens"),
        Column("Busiest expert"), *_BALANCE,
    )

    def row(part: PartOfWork, number: int, one: LayerLoad) -> TableRow:
        title = layer_title(one.layer, work.summary.layers)
        cells = _balance(one.balance, chance_variation([one]), one.layer.experts)
        named = numbers.row(part, "balance", (number, f"layer {title}"), _BALANCE, cells)
        return named_row(title, (_whole(one.tokens), Value(str(int(one.load.argmax())))), named)

    return BlockTable(columns, tuple(
        Block(PHASE_WORDS[part.phase], tuple(row(part, *one) for one in enumerate(part.routing.layers, 1)))
        for part in parts
    ))


def _balance(balance: Balance, chance: float, experts: int) -> tuple[Cell, ...]:
    numbers = (balance.max_over_mean, balance.variation, chance, balance.gini, balance.entropy)
    silent = Value(grouped(balance.dead, 0), f"of {grouped(experts, 0)}")
    return (*map(_three_digits, numbers), Cell(balance.dead, silent))


def _three_digits(number: float) -> Cell:
    return Cell(number, Value(significant(number)))


_DISTINCT = (
    Column("Measured", help="Distinct experts of a layer, mean over layers and over all ways to take so many tokens of "
           "a step that has at least so many"),
    Column("Uniform", help="N (1 - (1 - k/N)^T)"),
    Column("Measured / uniform", help="Below 1 where tokens of a step agree on their experts more than uniform routing "
           "would"),
    Column("Least", help="k: what one token takes"), Column("Most", help="The smaller of T k and N"),
    Column("Steps", help="Steps with at least so many tokens"),
)


def distinct_table(parts: Sequence[PartOfWork], numbers: Numbers) -> BlockTable:
    """Distinct experts at every batch, measured beside uniform routing and the bounds."""
    columns = (Column("Work", classes="text frozen"), Column("Tokens in a step", classes="text"), *_DISTINCT)

    def row(part: PartOfWork, number: int, point: DistinctPoint) -> TableRow:
        cells = (
            *map(_three_digits, (point.measured, point.expected, point.measured / point.expected)),
            Cell(point.low, _count(point.low)), Cell(point.high, _count(point.high)),
            Cell(point.steps, _whole(point.steps)),
        )
        place = (number, count_of(point.batch, "token"))
        return named_row(grouped(point.batch, 0), (), numbers.row(part, "distinct", place, _DISTINCT, cells))

    return BlockTable(columns, tuple(
        Block(_titled(part), tuple(row(part, *one) for one in enumerate(part.routing.distinct)))
        for part in parts if part.routing.distinct
    ))


def capacity_table(parts: Sequence[PartOfWork], numbers: Numbers) -> BlockTable | None:
    """Dropped assignments by capacity factor; nothing where none was replayed."""
    factors = list(dict.fromkeys(drop.factor for part in parts for drop in part.routing.drops))
    if not factors:
        return None
    columns: list[Column] = []
    for factor in factors:
        words = (
            f"Assignments beyond ceil({factor:g} T k / N) an expert in a step of T tokens, over all assignments; a "
            "token loses that expert, not all of them"
        )
        columns += [
            Column(f"Factor {factor:g}", "% dropped", "lower", words),
            Column("Worst layer", "%", "lower", f"The same at factor {factor:g} in the layer that drops most"),
        ]

    def row(part: PartOfWork) -> TableRow:
        known = {drop.factor: drop for drop in part.routing.drops}
        cells: list[Cell] = []
        for factor in factors:
            drop = known.get(factor)
            shares = (drop.dropped, drop.worst_layer) if drop else (None, None)
            cells += [Cell(None, _NONE) if one is None else _three_digits(100 * one) for one in shares]
        named = numbers.row(part, "capacity", (0, "all steps"), columns, cells)
        return named_row(PHASE_WORDS[part.phase], (), named)

    heads = (Column("Work", classes="text frozen"), Column("Phase", classes="text"))
    return BlockTable((*heads, *columns), _blocks(parts, row))


def parallel_table(parts: Sequence[PartOfWork], numbers: Numbers) -> BlockTable | None:
    """The recorded steps on several ranks; nothing where none was replayed."""
    known = [part for part in parts if part.routing.parallel]
    if not known:
        return None
    replays = [replay for part in known for replay in part.routing.parallel]
    scale = scale_of("bytes", [replay.all_to_all_bytes for replay in replays])
    extra = max(len(replay.balanced) for replay in replays)
    heads = (Column("Work", classes="text frozen"), Column("Ranks", classes="text"))
    columns = (
        Column("Slow-down", "\u00d7", "lower",
               "Assignments of the slowest rank over the mean rank's, summed over steps and layers, experts placed "
               "in the order of their ids: how much longer the experts' products take than if all ranks had the same"),
        Column("Slow-down, weights", "\u00d7", "lower",
               "The same for the distinct experts of a rank, whose weights have to be read: what binds small steps"),
        Column("Ranks of a token", help="Ranks that hold at least one of its experts, mean over tokens and layers"),
        Column("All-to-all", f"{scale.unit} per token and layer", "lower",
               "Hidden states sent to other ranks and returned: 2 (R - 1) / R x ranks of a token x bytes of one"),
        Column("In order of ids", "\u00d7, 2nd half", "lower",
               "The slow-down in the second half of the steps, without a balancer: to compare with the columns after"),
        *(Column(title, "\u00d7, 2nd half", "lower",
                 "The slow-down in the second half of the steps, with experts placed by a balancer that saw the first "
                 "half; the lighter number is how many copies of busy experts it adds")
          for title in _balanced_titles(extra)),
    )

    def row(part: PartOfWork, number: int, replay: ParallelReplay) -> TableRow:
        place = (number, count_of(replay.ranks, "rank"))
        named = numbers.row(part, "parallel", place, columns, _replay_cells(replay, scale, extra))
        return named_row(str(replay.ranks), (), named)

    return BlockTable((*heads, *columns), tuple(
        Block(_titled(part), tuple(row(part, *one) for one in enumerate(part.routing.parallel))) for part in known
    ))


def _balanced_titles(number: int) -> list[str]:
    return ["Balanced", "With copies", *("With more copies" for _ in range(number - 2))][:number]


def _replay_cells(replay: ParallelReplay, scale: Scale, extra: int) -> list[Cell]:
    balanced = [
        Cell(slowdown, Value(significant(slowdown), f"+{grouped(copies, 0)}")) for copies, slowdown in replay.balanced
    ]
    figures = (
        replay.slowdown, replay.distinct_slowdown, replay.ranks_per_token, replay.all_to_all_bytes / scale.divisor,
        replay.linear,
    )
    return [*map(_three_digits, figures), *balanced, *(Cell(None, _NONE) for _ in range(extra - len(balanced)))]


def _blocks(parts: Sequence[PartOfWork], row: RowOf) -> tuple[Block, ...]:
    """One block a piece of work, one row a phase."""
    works = {id(part.work): part.work for part in parts}
    return tuple(
        Block(title_of(work), tuple(row(part) for part in parts if part.work is work)) for work in works.values()
    )


def _titled(part: PartOfWork) -> str:
    return f"{title_of(part.work)}, {PHASE_WORDS[part.phase].lower()}"


def _whole(number: int) -> Value:
    return Value(grouped(number, 0))


def _count(number: float) -> Value:
    return Value(grouped(number, 0) if number == int(number) else significant(number))
