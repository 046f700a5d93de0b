"""Text that means harm to some output, and records that have it wherever foreign text can be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import builders

from harness.record import Completed, Origin, Record, ReportedMeasurement
from harness.scenario import QualityScenario

SUITE = "hostile"
LONG = "x" * 10_000
MANY_WORDS = "ab " * 3_333

TEXTS: dict[str, str] = {
    "script": "</script><script>alert(1)</script>",
    "attribute": "\"'><img src=x onerror=alert(1)> onmouseover=alert(1) x=\"",
    "style": "</style></title></textarea></pre><svg onload=alert(1)>",
    "comment": "--><!-- ]]> <![CDATA[ <?php ?> --!>",
    "template": "{{ 7*7 }} {% raw %} {# x #} ${7*7} <%= 7*7 %>",
    "entity": "&lt;b&gt; &#60;script&#62; &amp;amp; &notin",
    "address": "javascript:alert(1)",
    "link": (
        "[x](javascript:alert(1)) ![x](http://evil.example/x.png) <http://evil.example> www.evil.example @all #1 :o:"
    ),
    "markdown": "**a** __b__ `c` ``d ~~e~~ ==f== \\ * # > | - + a|b",
    "mathematics": "$x^2$ $$y_1$$ \\(z\\)",
    "latex": "\\input{/etc/passwd} \\write18{ls} } { % & # _ ^ ~ \\\\ [1em] \\begin{x} -- ''",
    "row end": "[a] * \\\\",
    "formula": '=HYPERLINK("http://evil.example","x")',
    "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-1-1",
    "at": "@SUM(1,1)",
    "tab": "\t=1+1",
    "return": "\r=1+1",
    "blanks": " \u00a0\u3000=1+1",
    "full width": "\uff1d1\uff0b1",
    "separator": "a;=1+1;\t-1;\n@x",
    "bidi": "abc\u202edcba\u2066\u200f\u061c",
    "control": "a\x00b\x07\x1b[31m\x7f\x9b\ufeff\ufffe\uffff",
    "lines": "a\nb\r\nc\u2028d\u2029e\x85f\x0bg\x0ch",
    "emoji": "\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \u4f60\u597d \u0101\u0301 z\u0351\u0352\u0353",
    "yaml": "- !!python/object/apply:os.system ['ls'] # {a: *b} | >",
    "boolean": "no",
    "number": "1e3",
    "json": '\\u003cscript\\u003e \\" \\',
    "plotly": "<b>a</b><br><a href='javascript:alert(1)'>x</a> %{x} <sub>y</sub>",
    "path": "../../etc/passwd",
    "option": "--help",
    "prototype": "__proto__",
    "long": LONG,
    "words": MANY_WORDS,
}
"""By what they attack. Each can be a name of its own."""


def benign_texts() -> dict[str, str]:
    """As many harmless names, in the same order."""
    return {key: f"harmless-{number}" for number, key in enumerate(TEXTS)}


def records(texts: Iterable[str], *, suite: str = SUITE) -> list[Record]:
    """A suite in which every text is the name of a model, a task, a workload, a group and a version, and a message.

    The first model serves every workload and is scored on every task, the others share the first of each, so that they
    are compared; every other one is dense.
    """
    names = list(texts)
    found: list[Record] = []
    for number, name in enumerate(names):
        found += _model_records(name, number, names)
    for number, name in enumerate(names):
        first = _about(names[0], 0, names)
        found.append(builders.serving_record(scenario=builders.serving_scenario(4, name=name), **first))
        if number > 1:
            found.append(builders.quality_record(task=name, metric=name, **first))
        found.append(_failed(name, number, names))
    return [record.model_copy(update={"suite": suite}) for record in found]


def _about(name: str, number: int, names: Sequence[str]) -> dict[str, Any]:
    """The subject and the environment of a model, with foreign text in every field that takes it."""
    other = names[(number + 1) % len(names)]
    subject = builders.subject(
        name, source=f"hub:{name}", revision=name, precision=name, quantization=name,
        engine={name: [other, {other: name}], "max_model_len": 256}, accelerator=names[0],
    )
    environment = builders.ENVIRONMENT.model_copy(update={
        "processor": name, "driver": name, "system": name, "commit": name, "versions": {"vllm": name, "moebench": name},
    })
    shape = "dense-active" if number % 2 else "moe-8x2"
    return {
        "subject": subject, "environment": environment, "config": builders.CONFIGS[shape], "minutes": float(number),
    }


def _model_records(name: str, number: int, names: Sequence[str]) -> list[Record]:
    about = _about(name, number, names)
    group = names[number // 2 * 2]
    served = [
        builders.serving_record(
            scenario=builders.serving_scenario(level, name=names[0]), tokens_per_s=900.0 + 10 * number, group=group,
            repeat=repeat, **about,
        )
        for level in (2, 8) for repeat in range(2)
    ]
    scores = tuple(float(item % 7 > number % 5) for item in range(40))
    return [
        *served,
        builders.quality_record(task=names[0], item_scores=scores, group=group, **about),
        builders.quality_record(task=names[1], item_scores=scores, group=group, **about),
        builders.memory_record(group=group, **about),
    ]


def _failed(name: str, number: int, names: Sequence[str]) -> Record:
    """A cell that failed, was refused, was skipped or was imported, in turn, and says so with the text."""
    about = _about(name, number, names)
    scenario = builders.serving_scenario(32, name=names[0])
    if number % 4 == 1:
        return builders.refused_record(scenario=scenario, reason=name, **about)
    if number % 4 == 2:
        return builders.skipped_record(scenario=scenario, reason=name, **about)
    if number % 4 == 3:
        origin = Origin(tool=name, version=name, file=name, fingerprint="sha256:" + "0" * 64)
        measured = Completed(measurement=ReportedMeasurement(values={"output_tokens_per_s": 1.0, "ttft_p50_s": 0.1}))
        return builders.record(scenario, measured, origin=origin, **about)
    failed = builders.failed_record(scenario=scenario, error=name, message=name, **about)
    return failed.model_copy(update={"outcome": failed.outcome.model_copy(update={"log_tail": f"{name}\n{name}"})})


def tasks_of(found: Iterable[Record]) -> list[str]:
    """The tasks of some records, each once."""
    scenarios = (record.cell.scenario for record in found)
    return list(dict.fromkeys(one.task for one in scenarios if isinstance(one, QualityScenario)))
