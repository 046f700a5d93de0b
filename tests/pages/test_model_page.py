"""The memory of a model on its page: what the peak consists of, and why a quantity is empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sites
from builders import accelerated, device_memory, failed_record, memory_record, serving_record

from harness.metrics import memory_values
from harness.pages.model_page import ModelPage
from harness.pages.site import build_site
from harness.record import Completed, MemoryMeasurement, Record
from harness.scenario import MemoryScenario

GB = 1_000_000_000


def memory(repeat: int = 0, *, used_bytes: int = 80 * GB, **changes: Any) -> Record:
    """A memory cell of one device, of which `used_bytes` are used at the peak and 1 GB was before."""
    fields: dict[str, Any] = {
        "weights_bytes": 30 * GB, "kv_cache_bytes": 40 * GB, "engine_weights_bytes": 32 * GB,
        "activation_bytes": 3 * GB, "graph_bytes": GB, "devices": (device_memory(used_bytes),),
    }
    return measured(repeat, **{**fields, **changes}).model_copy(update={"environment": accelerated()})


def measured(repeat: int = 0, **changes: Any) -> Record:
    record = memory_record(repeat=repeat, minutes=repeat)
    assert isinstance(record.outcome, Completed)
    outcome = Completed(measurement=record.outcome.measurement.model_copy(update=changes))
    return record.model_copy(update={"outcome": outcome})


def values(record: Record) -> dict[str, float]:
    assert isinstance(record.outcome, Completed) and isinstance(record.outcome.measurement, MemoryMeasurement)
    return memory_values(record.outcome.measurement)


def page_of(root: Path, *records: Record) -> ModelPage:
    store = sites.store_of(root, records)
    return next(page for page in build_site(store, store.suites(), named=False).pages if isinstance(page, ModelPage))


def shown(page: ModelPage, title: str) -> tuple[str, str]:
    """A row of the memory table: its value, and why it is empty."""
    assert page.memory is not None
    cell = next(row.cells[0] for row in page.memory.rows if row.title == title)
    return cell.text, " ".join(mark.reason for mark in cell.marks)


class TestValues:
    def test_the_rest_is_what_no_part_explains(self) -> None:
        # weights as loaded: two ranks may hold some twice
        assert values(memory())["other_bytes"] == (79 - 32 - 40 - 3 - 1) * GB
        assert values(memory(engine_weights_bytes=None))["other_bytes"] == (79 - 30 - 40 - 3 - 1) * GB
        assert values(memory(activation_bytes=None, graph_bytes=None))["other_bytes"] == (79 - 32 - 40) * GB

    def test_parts_that_are_more_than_the_peak_leave_no_rest(self) -> None:
        assert values(memory(used_bytes=70 * GB))["other_bytes"] == 0

    def test_on_a_processor_the_resident_set_is_split(self) -> None:
        found = values(memory_record(resident_bytes=900_000_000, weights_bytes=400_000))
        assert found["other_bytes"] == 900_000_000 - 400_000 - 64_000_000
        assert not {"device_peak_bytes", "engine_weights_bytes", "activation_bytes", "graph_bytes"} & set(found)

    @pytest.mark.parametrize(("cold", "import_s", "key"), [
        (True, 15.0, "startup_cold_s"), (False, 15.0, "startup_warm_s"), (None, 15.0, "startup_unknown_s"),
        (True, None, "startup_unknown_s"),
    ])
    def test_a_start_counts_imports_and_is_cold_or_warm(
        self, cold: bool | None, import_s: float | None, key: str
    ) -> None:
        found = {k: v for k, v in values(measured(cold=cold, import_s=import_s)).items() if k.startswith("startup")}
        assert found == {key: 4.0 + (import_s or 0.0)}


class TestBar:
    def test_the_parts_of_a_devices_peak(self, tmp_path: Path) -> None:
        page = page_of(tmp_path, memory())
        assert [(part.title, part.value.text, part.weight) for part in page.memory_parts] == [
            ("Weights", "32.0 GB", 32 * GB), ("KV cache", "40.0 GB", 40 * GB), ("Activations", "3.00 GB", 3 * GB),
            ("CUDA graphs", "1.00 GB", GB), ("Other", "3.00 GB", 3 * GB),
        ]
        assert len({part.colour for part in page.memory_parts}) == 5
        assert sum(float(part.share.text) for part in page.memory_parts) == pytest.approx(100, abs=0.3)
        assert page.memory_note == "The bar splits the devices' peak of 79.0 GB."

    def test_what_is_not_told_is_in_the_rest(self, tmp_path: Path) -> None:
        page = page_of(tmp_path, memory(engine_weights_bytes=None, activation_bytes=None, graph_bytes=None))
        assert [(part.title, part.weight) for part in page.memory_parts] == [
            ("Weights", 30 * GB), ("KV cache", 40 * GB), ("Other", 9 * GB),
        ]

    def test_memory_set_aside_and_not_used_is_said(self, tmp_path: Path) -> None:
        page = page_of(tmp_path, memory(used_bytes=70 * GB))
        assert [part.title for part in page.memory_parts] == ["Weights", "KV cache", "Activations", "CUDA graphs"]
        assert page.memory_note == (
            "The bar splits the devices' peak of 69.0 GB. Its parts are more than that together: not all that the "
            "engine set aside was used."
        )

    def test_the_resident_set_of_a_processor(self, tmp_path: Path) -> None:
        page = page_of(tmp_path, memory_record(resident_bytes=900_000_000))
        assert [part.title for part in page.memory_parts] == ["Weights", "KV cache", "Other"]
        assert page.memory_note == (
            "The bar splits the process's resident peak of 900 MB. The engine does not tell its activations from the "
            "rest on a processor."
        )

    def test_none_without_a_measurement(self, tmp_path: Path) -> None:
        page = page_of(tmp_path, serving_record())
        assert (page.memory, page.memory_parts, page.memory_note) == (None, (), "")


class TestTable:
    def test_start_up_is_shown_cold_and_warm(self, tmp_path: Path) -> None:
        starts = [measured(repeat, cold=repeat == 0, import_s=6.0 - repeat) for repeat in range(3)]
        page = page_of(tmp_path, *starts)
        assert shown(page, "Start-up, cold") == ("10.0 s", "")
        assert shown(page, "Start-up, warm") == ("8.50 s", "")
        assert page.memory is not None
        assert not {row.title for row in page.memory.rows} & {"Load time", "Start-up, cold or warm"}

    def test_start_up_of_records_that_do_not_tell_which(self, tmp_path: Path) -> None:
        assert shown(page_of(tmp_path, memory_record()), "Start-up, cold or warm") == ("4.00 s", "")

    def test_each_empty_quantity_says_why(self, tmp_path: Path) -> None:
        page = page_of(tmp_path, memory_record())
        for title, why in (
            ("Device peak", "No accelerator measured here."),
            ("Weights, loaded", "The engine tells this on CUDA only."),
            ("Activations", "The engine tells this on CUDA only, where it sizes its cache itself."),
            ("CUDA graphs", "The engine tells this on CUDA only, where it captures graphs."),
            ("Start-up, cold",
             ("Only before the first repeat of a local checkpoint are its files dropped from memory, where that is "
              "allowed.")),
            ("Start-up, warm", "Only later repeats of a local checkpoint are known to find its files in memory."),
        ):
            assert shown(page, title) == ("", why)
        assert page.memory is not None
        assert all(row.cells[0].text or row.cells[0].marks for row in page.memory.rows)

    def test_on_a_device_everything_is_there(self, tmp_path: Path) -> None:
        page = page_of(tmp_path, memory(0, cold=True, import_s=1.0), memory(1, cold=False, import_s=1.0))
        assert page.memory is not None
        assert all(row.cells[0].text for row in page.memory.rows)

    def test_a_cell_that_failed_says_so_in_every_row(self, tmp_path: Path) -> None:
        failed = failed_record(scenario=MemoryScenario(), error="out-of-memory", message="needs 90 GB")
        page = page_of(tmp_path, serving_record(), failed)
        assert {shown(page, title)[1] for title in ("Device peak", "Activations", "Weights")} == {
            "out-of-memory: needs 90 GB"
        }


def test_parameters_below_a_thousand_are_whole(tmp_path: Path) -> None:
    page = page_of(tmp_path, serving_record())
    texts = {part.title: (part.value.text, part.weight) for part in page.parameters}
    few = {title: text for title, (text, weight) in texts.items() if weight < 1000}
    assert few and all(text.isdigit() for text in few.values()), texts
