"""A comparison as JSON for other programs, in base units, with the sentences that the pages show.

`schema_version` changes when a field changes its name or meaning; new fields can be added to it. 2: an `n` that is not
known is null, no longer 0.

- `a`, `b`: the two models, with `model`, `kind` (moe, dense or null), `precision`, `accelerator` and `members`, the
  models of a group of trainings.
- `sentences`, `crossover_sentences`: what the pages say.
- `score`: the key of the score that stands for quality. `about`: the kinds in which the suite means the two to be
  alike.
- `matchings`: for each kind either `a`, `b`, `mismatch` (a / b; of iso-quality a - b, over the items that both were
  asked), `equal` (within 10 %, of iso-quality 2 points; of what is measured by the estimates), `likeness` (equal,
  nearly equal or not equal) and `concurrency`, or `unknown` with the reason. Parameters, bytes, FLOPs, scores, US
  dollars per million output tokens.
- `effects`: `metric`, `title`, `unit`, `workload` and `load` in words with `load_kind` and `load_level` (null for what
  is not measured at a load), `kind` (ratio: a / b; difference: a - b), `better` (higher or lower), the estimates `a`
  and `b` (`value`, `low`, `high`, `n` or null, `basis`), `contrast` (`value`, `low`, `high`, `p_value`, `basis`),
  `exact` (counted on both sides), `family` (what Holm's correction is over), `adjusted_p`, `verdict` on a (better,
  worse, indistinguishable, insufficient data) and `words`, what the pages call it (better, worse, not told apart,
  equal, nearly equal, too little data).
- `crossovers`: a `workload` each, with the `lowest` and `highest` load that both served, `concurrency`, `low` and
  `high` (null where not known), `overtakes`, `certain` (whether the pages say that it overtakes), and `reason` where
  there is none.
- `missing`: what was not compared, with the reason. `caveats`: what to hold against the comparison.

Ends of 95 % intervals are null where there are too few values for one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.answer import answer
from harness.compare import Comparison, Effect
from harness.crossover import Crossover
from harness.matching import MATCH_KINDS
from harness.metrics import METRICS
from harness.speed_words import by_verdicts, changes_lead
from harness.stats import Estimate
from harness.summary import ModelSummary
from harness.wording import verdict_words

COMPARISON_SCHEMA = 2


def comparison_json(comparison: Comparison, crossings: Sequence[Crossover]) -> str:
    """The comparison as JSON text with two blanks a level; `crossings` are those of the same two models."""
    told = answer(comparison, crossings)
    return json.dumps({
        "schema_version": COMPARISON_SCHEMA,
        "a": _model(comparison.a),
        "b": _model(comparison.b),
        "sentences": told.sentences,
        "crossover_sentences": told.crossovers,
        "score": comparison.score,
        "about": comparison.about,
        "matchings": {kind: _matching(comparison, kind) for kind in MATCH_KINDS},
        "effects": [_effect(effect) for effect in comparison.effects],
        "crossovers": [_crossover(comparison, by_verdicts(comparison, one)) for one in crossings],
        "missing": comparison.missing,
        "caveats": tuple(dict.fromkeys(comparison.caveats)),
    }, indent=2, ensure_ascii=False, allow_nan=False)


def _model(summary: ModelSummary) -> dict[str, Any]:
    return {
        "model": summary.model,
        "kind": {True: "moe", False: "dense", None: None}[summary.is_moe],
        "precision": summary.subject.precision,
        "accelerator": summary.subject.accelerator,
        "members": [member.model for member in summary.members],
    }


def _matching(comparison: Comparison, kind: Any) -> dict[str, Any]:
    match = comparison.matching.of(kind)
    if match is None:
        return {"unknown": comparison.matching.unknown.get(kind, "not known")}
    return {
        "a": match.a, "b": match.b, "mismatch": match.mismatch, "equal": match.equal,
        "likeness": match.likeness, "concurrency": match.at.concurrency if match.at else None,
    }


def _effect(effect: Effect) -> dict[str, Any]:
    point, contrast = effect.point, effect.contrast
    return {
        "metric": effect.metric,
        "title": effect.title,
        "unit": METRICS[effect.metric.split(":", 1)[0]].unit,
        "workload": point.name if point else None,
        "load": point.words if point else None,
        "load_kind": point.kind if point else None,
        "load_level": point.level if point else None,
        "kind": effect.kind,
        "better": effect.better,
        "a": _estimate(effect.a),
        "b": _estimate(effect.b),
        "contrast": {
            "value": contrast.value, "low": contrast.low, "high": contrast.high, "p_value": contrast.p_value,
            "basis": contrast.basis,
        },
        "exact": effect.exact,
        "family": effect.family,
        "adjusted_p": effect.adjusted_p,
        "verdict": effect.verdict,
        "words": verdict_words(effect),
    }


def _estimate(one: Estimate) -> dict[str, Any]:
    return {"value": one.value, "low": one.low, "high": one.high, "n": one.n or None, "basis": one.basis}


def _crossover(comparison: Comparison, one: Crossover) -> dict[str, Any]:
    return {
        "workload": one.name, "lowest": one.lowest, "highest": one.highest, "concurrency": one.concurrency,
        "low": one.low, "high": one.high, "overtakes": one.overtakes or None,
        "certain": changes_lead(comparison, one), "reason": one.reason or None,
    }
