"""Results of other tools as records: `vllm bench`, GuideLLM and lm-eval."""

from __future__ import annotations

from harness.imports.reader import FORMATS, Imported, config_of, import_file
from harness.imports.result import Given
from harness.record import NOT_STATED

__all__ = ["FORMATS", "NOT_STATED", "Given", "Imported", "config_of", "import_file"]
