"""What a point says of how much of its device was used, from records to notes, rows and figures."""

from __future__ import annotations

from typing import Any

import builders
import pytest

from harness.environment import Ceilings, ReadRate
from harness.pages.point_table import note_marks
from harness.pages.roofline_section import roofline_section
from harness.record import Completed, Record, ServingMeasurement
from harness.summarise import summarise
from harness.summary import ModelSummary, OperatingPoint
from harness.utilisation import TOO_LOW


def ceilings(bytes_per_s: float = 1e10, **peaks: float) -> Ceilings:
    return Ceilings(
        reads=(ReadRate(working_set_bytes=1 << 20, bytes_per_s=bytes_per_s),),
        matmul_flops_per_s=peaks or {"bfloat16": 1e12}, duration_s=1.0,
    )


def summary_of(*tokens_per_s: float, roof: Ceilings | None, config: str = "moe-8x2", **changes: Any) -> ModelSummary:
    """A model whose repeats at one load were so fast."""
    records = []
    for repeat, speed in enumerate(tokens_per_s):
        record = builders.serving_record(concurrency=4, repeat=repeat, tokens_per_s=speed)
        records.append(record.model_copy(update={
            "environment": record.environment.model_copy(update={"ceilings": roof}),
            "config": builders.CONFIGS[config], **changes,
        }))
    (summary,) = summarise(builders.with_paths(records))
    return summary


def only(summary: ModelSummary) -> OperatingPoint:
    (point,) = summary.points
    return point


def notes(summary: ModelSummary) -> list[str]:
    return [note for note in only(summary).notes if note.startswith("no utilisation")]


def without_starts(record: Record) -> Record:
    """As records of the first schema are."""
    assert isinstance(record.outcome, Completed) and isinstance(record.outcome.measurement, ServingMeasurement)
    untold = tuple(one.model_copy(update={"started_s": None}) for one in record.outcome.measurement.requests)
    measurement = record.outcome.measurement.model_copy(update={"requests": untold})
    return record.model_copy(update={"outcome": Completed(measurement=measurement)})


class TestUnknown:
    def test_records_that_do_not_tell_when_requests_were_started(self) -> None:
        record = builders.serving_record(concurrency=4)
        old = without_starts(record).model_copy(update={
            "environment": record.environment.model_copy(update={"ceilings": ceilings()}),
            "config": builders.CONFIGS["moe-8x2"],
        })
        (summary,) = summarise(builders.with_paths([old]))
        assert notes(summary) == ["no utilisation: the record does not tell when requests were started"]
        section = roofline_section(summary)
        assert section is not None and section.missing is not None and section.figure is None
        assert section.missing.reason == "The record does not tell when requests were started."

    @pytest.mark.parametrize(("roof", "why"), [
        (None, "the ceilings of the device were not measured"),
        (ceilings(float32=1e12), "the device's rate of products in bfloat16 is not known"),
    ])
    def test_what_the_device_does_not_tell(self, roof: Ceilings | None, why: str) -> None:
        summary = summary_of(1000.0, roof=roof)
        assert notes(summary) == [f"no utilisation: {why}"]
        assert not any("utilisation" in mark.reason for mark in note_marks(only(summary)))

    def test_what_is_known_has_no_such_note(self) -> None:
        summary = summary_of(1000.0, roof=ceilings())
        assert notes(summary) == [] and len(only(summary).roofline) == 2


class TestRepeats:
    def test_the_roofline_has_the_means_of_the_estimates(self) -> None:
        found = only(summary_of(800.0, 1000.0, 1400.0, roof=ceilings()))
        for one in found.roofline:
            mfu, mbu = (found.estimates[f"{one.phase}_{key}"] for key in ("mfu", "mbu"))
            assert len(mfu.values) == len(mbu.values) == 3
            assert (one.mfu, one.mbu) == pytest.approx((mfu.value, mbu.value))
            assert one.share == pytest.approx(max(mfu.value, mbu.value))
            assert one.achieved_flops_per_s == pytest.approx(1e12 * mfu.value)

    def test_one_above_the_ceiling_takes_the_load_out_and_says_so(self) -> None:
        usual = only(summary_of(1000.0, roof=ceilings(bytes_per_s=1e10)))
        # between the slow repeats and the fast one
        rate = 1e10 * usual.estimates["decode_mbu_active"].value * 2
        summary = summary_of(10.0, 12.0, 4000.0, roof=ceilings(bytes_per_s=rate))
        found = only(summary)
        assert "decode_mbu" not in found.estimates and "decode_mfu" in found.estimates
        assert all(one.phase != "decode" for one in found.roofline)
        assert "in 1 of 3 repeats" in found.beaten["decode"] and TOO_LOW in found.beaten["decode"]
        assert found.beaten["decode"] in found.notes and not any("ceiling" in flag for flag in found.flags)
        section = roofline_section(summary)
        assert section is not None and section.table is not None
        labels = [mark.label for block in section.table.blocks for row in block.rows for cell in row.cells
                  for mark in cell.marks]
        assert "above the ceiling" in labels
