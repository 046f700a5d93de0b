# ruff: noqa: INP001 - lm-eval loads this file by its path; it belongs to no package
"""Reads the data files that lie beside the task files, from any working directory."""

import json
from pathlib import Path


def load(file, **metadata):
    """The rows of one JSONL file as the split `test`; the task's metadata, which lm-eval passes too, is not used."""
    from datasets import Dataset, DatasetDict

    lines = Path(__file__).with_name(file).read_text(encoding="utf-8").splitlines()
    return DatasetDict({"test": Dataset.from_list([json.loads(line) for line in lines])})
