"""Commands that measure a number again, as a reader may paste them into a shell."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from harness.quantities import plain
from harness.record import Subject
from harness.suite import Suite, load_suite, short_fingerprint
from harness.summary import ModelSummary, TaskScore

TASKS_FOLDER = "suites/tasks"


def shell_word(text: str) -> str:
    """`text` as one word of a shell; characters that cannot be seen are written as escapes."""
    if plain(text) == text and text.isprintable():
        return shlex.quote(text)
    escapes = {"'": "\\'", "\\": "\\\\"}
    visible = (escapes.get(c, c) if c.isprintable() else f"\\U{ord(c):08x}" for c in text)
    return f"$'{''.join(visible)}'"


def suite_argument(name: str, definition: Suite | None, suites_dir: Path | None) -> str:
    """How a command names a suite: a shipped one by its name; of another it is said which file that is.

    Records keep the name of their suite, not the place of its file. The fingerprint is that of what the file says, as
    `moebench plan` prints it.
    """
    shipped = {file.stem: file for file in suites_dir.glob("*.yaml")} if suites_dir else {}
    if name in shipped and definition in (None, load_suite(shipped[name])):
        return name
    known = f", fingerprint {short_fingerprint(definition)}" if definition else ""
    return f"<the file of the suite {plain(name, 80)}{known}>"


def run_command(suite: str, model: ModelSummary) -> str:
    """The command that measures a model of a suite again, into a folder of its own; of a group, all its trainings.

    `suite` is its `suite_argument`.
    """
    names = [member.model for member in model.members] or [model.model]
    chosen = " ".join(f"--model {shell_word(name)}" for name in names)
    return f"moebench run {shell_word(suite)} {chosen} --results again"


def lm_eval_command(subject: Subject, score: TaskScore) -> str:
    """The `lm_eval` command that gives the same score, by the arguments that were recorded; empty without those."""
    told = score.arguments.get("model_args")
    if not isinstance(told, dict) or subject.backend != "vllm":
        return ""
    scenario, (kind, _, place) = score.scenario, subject.source.partition(":")
    model = {"pretrained": f"suites/{place}" if kind == "path" else place}
    if kind == "hub" and subject.revision:
        model["revision"] = subject.revision
    words = ["lm_eval", "run", "--model", "vllm", "--model_args", _json({**model, **told})]
    words += ["--tasks", scenario.lm_eval_task]
    words += ["--include_path", TASKS_FOLDER] if scenario.task_fingerprint is not None else []
    for name in ("num_fewshot", "limit"):
        given = score.arguments.get(name)
        words += [f"--{name}", str(given)] if given is not None else []
    words += ["--apply_chat_template"] if score.arguments.get("apply_chat_template") else []
    words += ["--batch_size", str(score.arguments.get("batch_size", "auto")), "--log_samples", "--output_path", "again"]
    return " ".join(map(shell_word, words))


def _json(value: dict[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
