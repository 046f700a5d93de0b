"""What was measured and where, as terms with their texts."""

from __future__ import annotations

from collections.abc import Iterable

from harness.environment import Environment
from harness.pages.parts import Terms
from harness.pages.suite_view import bytes_text
from harness.quantities import count_of, plain
from harness.summary import ModelSummary

_LIMIT = 2_000


def subject_terms(model: ModelSummary) -> Terms:
    """The system under test."""
    subject = model.subject
    parallel = f"{subject.tensor_parallel}{', experts spread' if subject.expert_parallel else ''}"
    return _plain([
        ("Source", subject.source), ("Revision", subject.revision or "not pinned"), ("Weights", subject.weights),
        ("Precision", subject.precision), ("Quantization", subject.quantization or "none"),
        ("Backend", subject.backend), ("Accelerator", subject.accelerator), ("Tensor parallel", parallel),
    ])


def environment_terms(model: ModelSummary) -> Terms:
    """The machine, the programs and the commit of the newest record."""
    environment = model.environment
    return [*machine_terms(environment), ("Commit", plain(environment.commit or "not known", _LIMIT))]


def machine_terms(environment: Environment) -> Terms:
    """The machine and the programs of an environment, without its commit."""
    return _plain([
        ("Processor", f"{environment.processor}, {count_of(environment.cores, 'core')}"),
        ("Memory", bytes_text(environment.memory_bytes)),
        ("Engine threads", str(environment.threads or "not set")), ("System", environment.system),
        ("Driver", environment.driver or "none"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in sorted(environment.versions.items()))),
    ])


def _plain(terms: Iterable[tuple[str, str]]) -> Terms:
    return [(term, plain(text, _LIMIT)) for term, text in terms]
