"""What a suite's serving entries ask for: lengths, traces, and one scenario a load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputError
from harness.scenario import ClosedLoop, Lengths, Load, Offline, OpenLoop, RandomLengths, Replay, ServingScenario
from harness.suite import Suite
from harness.suite_serving import Serving, length_of
from harness.traces import Trace, read_trace


@dataclass(frozen=True)
class Workload:
    """A suite's serving entry with its lengths; `place` is its key in the suite file."""

    serving: Serving
    place: str
    lengths: Lengths
    trace: Trace | None

    def scenarios(self, max_num_seqs: int) -> list[ServingScenario]:
        """One for each load: closed loops by rising concurrency, the offline run, open loops by rising rate."""
        serving = self.serving
        loads: list[tuple[Load, int]] = [
            (ClosedLoop(concurrency=level), serving.requests(level)) for level in self._concurrencies(max_num_seqs)
        ]
        if serving.offline is not None:
            loads.append((Offline(), serving.offline))
        for rate in sorted(serving.rate_per_s or ()):
            load = OpenLoop(requests_per_s=rate, burstiness=serving.burstiness)
            loads.append((load, serving.min_requests))
        if serving.replay is not None and self.trace is not None:
            loads.append((Replay(speed=serving.replay), len(self.trace.prompt_tokens)))
        return [
            ServingScenario(
                name=serving.name, lengths=self.lengths, load=load, requests=requests,
                # how long a replay takes is the trace's to say
                min_duration_s=0.0 if isinstance(load, Replay) else serving.min_duration_s, warmup_s=serving.warmup_s,
            )
            for load, requests in loads
        ]

    def _concurrencies(self, max_num_seqs: int) -> list[int]:
        given = self.serving.concurrency
        if given == "auto":
            most = min(self.serving.up_to or max_num_seqs, max_num_seqs)
            return [2**power for power in range(most.bit_length())]
        return sorted(given or ())

    def longest_place(self, suite_file: Path) -> str:
        """What makes the longest request: the line of the trace, or the key of the suite."""
        if self.trace is not None:
            return f"{self.trace.path}:{self.trace.lines[self.trace.longest_row]}"
        return f"{suite_file}:{self.place}"


def workloads_of(suite: Suite, where: Path) -> list[Workload]:
    """The workloads of a suite, whose file is `where`.

    Raises InputError for a trace that cannot be read, or has no arrivals where they are to be replayed.
    """
    return [_workload(serving, f"serving[{index}]", where) for index, serving in enumerate(suite.serving)]


def _workload(serving: Serving, place: str, where: Path) -> Workload:
    if serving.trace is None:
        assert serving.prompt_tokens is not None
        assert serving.output_tokens is not None
        prompt, output = length_of(serving.prompt_tokens), length_of(serving.output_tokens)
        return Workload(serving, place, RandomLengths(prompt=prompt, output=output), None)
    trace = read_trace(where.parent / serving.trace)
    if serving.replay is not None and trace.arrivals_s is None:
        what, hint = f"{serving.trace} has no arrivals to replay", "give each line an arrival_s"
        raise InputError(what, where=f"{where}:{place}.replay", hint=hint)
    return Workload(serving, place, trace.lengths, trace)


def check_lengths(workloads: Sequence[Workload], room: int, where: Path) -> None:
    """Raises InputError for a workload with requests longer than `room`, the largest context of any model's engine."""
    for workload in workloads:
        longest = workload.lengths.longest
        if longest > room:
            what = f"{longest} tokens a request exceed the context of every model, {room} at most"
            place = workload.longest_place(where)
            raise InputError(what, where=place, hint="shorten the requests or raise engine.max_model_len")
