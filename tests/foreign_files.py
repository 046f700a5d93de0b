"""Recorded files of other tools, and what has to be given to import each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORDINGS = Path(__file__).parent / "recordings" / "imports"

GIVEN: dict[str, dict[str, Any]] = {
    "vllm_throughput.json": {"output_tokens": 8},
    "vllm_latency.json": {"prompt_tokens": 16, "output_tokens": 8, "concurrency": 4},
    "vllm_serve.json": {},
    "vllm_serve_detailed.json": {},
    "vllm_serve_open.json": {},
    "vllm_serve_capped.json": {},
    "vllm_serve_appended.json": {},
    "guidellm_0.3.json": {},
    "guidellm_0.5.json": {},
    "guidellm_0.8.json": {},
    "lm_eval/results_2026-01-05T12-00-00.000000.json": {},
}


def content(name: str) -> Any:
    """The JSON value in a recording, the first one where there are several."""
    text = (RECORDINGS / name).read_text(encoding="utf-8")
    return json.JSONDecoder().raw_decode(text)[0]
