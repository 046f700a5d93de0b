"""Energy, power and cost of a serving cell, and throttling: from what was sampled to what a page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from builders import closed_loop, record, serving_scenario, subject
from hypothesis import given
from hypothesis import strategies as st

from harness.plausibility import serving_flags
from harness.record import Completed, DeviceSamples, ReportedMeasurement, ServingMeasurement
from harness.scenario import OpenLoop
from harness.serving_metrics import energy_j, serving_values
from harness.summarise import summarise
from harness.terms import Terms

SCENARIO = serving_scenario(8)
"""32 requests of 16 tokens: 512 tokens, at 1000 a second in 0.512 s."""
FILE = Path("results/small/cell/record.json")


def device(times_s: tuple[float, ...] = (0.0, 1.0, 2.0), **changes: Any) -> DeviceSamples:
    return DeviceSamples(name="Example GPU", times_s=times_s, **changes)


def measured(*devices: DeviceSamples, no_energy: str = "") -> ServingMeasurement:
    return closed_loop(SCENARIO).model_copy(update={"devices": devices, "no_energy": no_energy})


class TestEnergy:
    def test_between_samples_the_counter_is_read_by_interpolation(self) -> None:
        counter = device(energy_j=(1000.0, 1100.0, 1500.0))
        assert energy_j((counter,), 0.0, 2.0) == 500.0
        assert energy_j((counter,), 0.5, 1.25) == pytest.approx(50.0 + 100.0)

    @given(
        st.floats(1.0, 1000.0), st.lists(st.floats(0.01, 5.0), min_size=1, max_size=20), st.floats(0, 1),
        st.floats(0, 1),
    )
    def test_of_a_constant_power_counter_and_integral_agree(
        self, power_w: float, gaps_s: list[float], one: float, other: float
    ) -> None:
        times = [0.0]
        for gap in gaps_s:
            times.append(times[-1] + gap)
        start, end = sorted((one * times[-1], other * times[-1]))
        counter = device(tuple(times), energy_j=tuple(7e6 + power_w * time for time in times))
        samples = device(tuple(times), power_w=(power_w,) * len(times))
        expected = pytest.approx(power_w * (end - start), abs=1e-5)
        assert energy_j((counter,), start, end) == expected
        assert energy_j((samples,), start, end) == expected

    def test_a_power_that_rises_evenly_is_integrated_by_trapezoids(self) -> None:
        assert energy_j((device(power_w=(100.0, 300.0, 300.0)),), 0.0, 2.0) == 200.0 + 300.0

    def test_the_counter_goes_before_the_power(self) -> None:
        assert energy_j((device(energy_j=(0.0, 1.0, 2.0), power_w=(50.0,) * 3),), 0.0, 2.0) == 2.0

    def test_devices_add_up_each_in_its_own_way(self) -> None:
        counter, power = device(energy_j=(10.0, 20.0, 30.0)), device((0.0, 2.0), power_w=(5.0, 5.0))
        assert energy_j((counter, power), 0.0, 2.0) == 20.0 + 10.0

    def test_a_counter_that_goes_back_is_as_none(self) -> None:
        fallen = (50.0, 10.0, 20.0)
        assert energy_j((device(energy_j=fallen),), 0.0, 2.0) is None
        assert energy_j((device(energy_j=fallen, power_w=(5.0,) * 3),), 0.0, 2.0) == 10.0

    @pytest.mark.parametrize("silent", [
        device(), device((0.0,), energy_j=(1.0,)), device((), energy_j=()), device((), power_w=()),
    ])
    def test_one_device_that_does_not_tell_leaves_no_sum(self, silent: DeviceSamples) -> None:
        assert energy_j((silent,), 0.0, 2.0) is None
        assert energy_j((device(energy_j=(1.0, 2.0, 3.0)), silent), 0.0, 2.0) is None

    def test_no_device_no_energy(self) -> None:
        assert energy_j((), 0.0, 2.0) is None


class TestMetrics:
    def test_energy_of_all_devices_over_the_output_tokens(self) -> None:
        values = serving_values(SCENARIO, measured(*[device(energy_j=(0.0, 300.0, 600.0))] * 2))
        assert values["mean_power_w"] == pytest.approx(600.0)
        assert values["joules_per_output_token"] == pytest.approx(2 * 300.0 * 0.512 / 512)

    def test_the_steady_state_has_its_own(self) -> None:
        # idle at first: what a whole run counts, the steady state does not
        power = device((0.0, 0.01, 0.010001, 1.0), energy_j=(0.0, 0.0, 0.0, 500.0))
        values = serving_values(SCENARIO, measured(power))
        rate_w = 500.0 / (1.0 - 0.010001)
        steady = rate_w / values["steady_output_tokens_per_s"]
        assert values["steady_joules_per_output_token"] == pytest.approx(steady)
        assert values["joules_per_output_token"] == pytest.approx(rate_w * (0.512 - 0.010001) / 512)

    def test_without_energy_none_is_made_up(self) -> None:
        values = serving_values(SCENARIO, measured(no_energy="no accelerator"))
        assert not {"joules_per_output_token", "steady_joules_per_output_token", "mean_power_w"} & set(values)

    def test_an_open_loop_has_no_steady_state_and_so_none_of_its_energy(self) -> None:
        scenario = serving_scenario(load=OpenLoop(requests_per_s=10.0))
        run = closed_loop(scenario).model_copy(update={"devices": (device(energy_j=(0.0, 300.0, 600.0)),)})
        values = serving_values(scenario, run)
        assert "joules_per_output_token" in values and "steady_joules_per_output_token" not in values

    def test_the_page_says_why_there_is_none(self) -> None:
        silent = record(SCENARIO, Completed(measurement=measured(no_energy="the NVIDIA driver does not answer")))
        (summary,) = summarise([(FILE, silent)])
        assert "no energy: the NVIDIA driver does not answer" in summary.points[0].notes
        known = record(SCENARIO, Completed(measurement=measured(device(energy_j=(0.0, 300.0, 600.0)))))
        (summary,) = summarise([(FILE, known)])
        assert not [note for note in summary.points[0].notes if note.startswith("no energy")]
        assert summary.points[0].estimates["mean_power_w"].value == pytest.approx(300.0)


class TestCost:
    def test_an_hour_at_the_rate_of_the_run(self) -> None:
        values = serving_values(SCENARIO, measured(), usd_per_hour=3.6)
        # 1000 tokens a second: a million in 1000 s
        assert values["usd_per_million_output_tokens"] == pytest.approx(1.0)

    def test_another_tools_rate_is_priced_too(self) -> None:
        reported = ReportedMeasurement(values={"output_tokens_per_s": 500.0})
        assert serving_values(SCENARIO, reported, usd_per_hour=3.6)["usd_per_million_output_tokens"] == pytest.approx(2)

    @pytest.mark.parametrize("price", [None, 0.0])
    def test_no_price_no_cost(self, price: float | None) -> None:
        assert "usd_per_million_output_tokens" not in serving_values(SCENARIO, measured(), usd_per_hour=price)

    def test_the_page_says_why_there_is_none(self) -> None:
        found = record(SCENARIO, Completed(measurement=measured()), subject=subject(threads=2))
        (summary,) = summarise([(FILE, found)])
        assert "no cost: no price of this hardware is known; a suite can give one" in summary.points[0].notes
        (summary,) = summarise([(FILE, found)], terms=Terms(host_usd_per_hour=3.6))
        assert not [note for note in summary.points[0].notes if note.startswith("no cost")]
        assert summary.points[0].estimates["usd_per_million_output_tokens"].value == pytest.approx(1.0)


class TestThrottling:
    def flags(self, *reasons: tuple[str, ...]) -> list[str]:
        return serving_flags(SCENARIO, measured(*(device(throttled=one) for one in reasons)))

    def test_heat_and_a_braking_supply_flag_the_row_with_every_reason_once(self) -> None:
        seen = self.flags(("HwThermalSlowdown", "SwPowerCap"), ("HwThermalSlowdown", "HwPowerBrakeSlowdown"))
        assert seen == ["the device lowered its clock: HwPowerBrakeSlowdown, HwThermalSlowdown"]

    @pytest.mark.parametrize("reason", ["SwThermalSlowdown", "HwSlowdown", "Reliability", "0x800"])
    def test_any_that_is_not_usual_flags_it(self, reason: str) -> None:
        assert self.flags((reason,)) == [f"the device lowered its clock: {reason}"]

    def test_idling_settings_and_the_power_limit_do_not(self) -> None:
        usual = ("GpuIdle", "SwPowerCap", "ApplicationsClocksSetting", "SyncBoost", "DisplayClockSetting")
        assert self.flags(usual) == self.flags() == []
