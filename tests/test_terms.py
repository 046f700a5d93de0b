"""How the results of a suite are read: prices of devices and hosts, and what is known of a device."""

from __future__ import annotations

from typing import Any

import pytest
from builders import subject

from harness.accelerators import Accelerators
from harness.errors import InputError
from harness.record import Subject
from harness.resources import suites_dir
from harness.suite import Suite, parse_suite
from harness.terms import Terms

SHIPPED = Accelerators(suites_dir())
H100 = "NVIDIA H100 80GB HBM3"


def suite(text: str = "", chat: str = "") -> Suite:
    return parse_suite(f"""
name: small
title: Small
models: [{{name: moe, path: pocket/moe}}]
serving:
  - {{name: long, prompt_tokens: 64, output_tokens: 16, concurrency: [1]}}
  - {{name: chat, prompt_tokens: 32, output_tokens: 16, concurrency: [1]{chat}}}
{text}
""", where="small.yaml")


def terms(text: str = "") -> Terms:
    return Terms.of(suite(text), suites_dir())


def on(accelerator: str, **changes: Any) -> Subject:
    return subject(accelerator=accelerator, **changes)


class TestPrices:
    def test_the_list_price_counts_where_the_suite_gives_none(self) -> None:
        listed = SHIPPED.load(H100).price_usd_per_hour
        assert listed is not None
        assert terms().usd_per_hour(on(H100)) == listed
        assert Terms.of(None, suites_dir()).usd_per_hour(on(H100)) == listed

    def test_all_devices_are_paid(self) -> None:
        listed = SHIPPED.load(H100).price_usd_per_hour
        assert listed is not None
        assert terms().usd_per_hour(on(H100, tensor_parallel=4)) == 4 * listed

    def test_the_suites_price_goes_before_it_by_any_name_of_the_device(self) -> None:
        found = terms("prices_usd_per_hour: {H100: 1.25}")
        assert found.usd_per_hour(on(H100, tensor_parallel=2)) == 2.5
        assert found.usd_per_hour(on("nvidia h100 80gb hbm3")) == 1.25
        other = SHIPPED.load("NVIDIA H200").price_usd_per_hour
        assert found.usd_per_hour(on("NVIDIA H200")) == other

    def test_a_device_without_a_list_price_has_none(self) -> None:
        unpriced = next(one for one in SHIPPED if one.price_usd_per_hour is None)
        assert terms().usd_per_hour(on(unpriced.name)) is None
        assert terms(f"prices_usd_per_hour: {{{unpriced.name}: 2.0}}").usd_per_hour(on(unpriced.name)) == 2.0

    def test_a_name_that_no_device_has_is_an_error_in_the_suite(self) -> None:
        with pytest.raises(InputError, match="H1000"):
            terms("prices_usd_per_hour: {H1000: 2.0}")


class TestSlicesAndUnknownDevices:
    @pytest.mark.parametrize("name", ["NVIDIA H200 MIG 1g.18gb", "NVIDIA H100 80GB HBM3 MIG 3g.40gb", "Example GPU"])
    def test_they_have_neither_peaks_nor_a_price(self, name: str) -> None:
        found = terms("prices_usd_per_hour: {H100: 1.25}\nhost_usd_per_hour: 0.5")
        assert found.device(on(name)) is None
        # the host's price is that of a machine which measures on its processor
        assert found.usd_per_hour(on(name)) is None


class TestHost:
    def test_a_machine_without_an_accelerator_has_its_own_price(self) -> None:
        found = terms("host_usd_per_hour: 0.5")
        assert found.usd_per_hour(on("AMD EPYC 9654", threads=8)) == 0.5
        assert terms().usd_per_hour(on("AMD EPYC 9654", threads=8)) is None

    def test_it_is_not_that_of_an_accelerator(self) -> None:
        assert terms("host_usd_per_hour: 0.5").usd_per_hour(on(H100)) == SHIPPED.load(H100).price_usd_per_hour


class TestOf:
    def test_without_a_folder_of_suites_nothing_is_known_of_devices(self) -> None:
        found = Terms.of(suite("host_usd_per_hour: 0.5"), None)
        assert found.device(on(H100)) is None
        assert found.usd_per_hour(on("AMD EPYC 9654", threads=8)) == 0.5
        assert Terms().usd_per_hour(on(H100)) is None

    def test_limits_are_those_of_the_workloads_that_set_some(self) -> None:
        assert terms().limits == {}
        found = Terms.of(suite(chat=", goodput: {ttft_s: 0.5}"), suites_dir()).limits
        assert list(found) == ["chat"]
        assert (found["chat"].ttft_s, found["chat"].tpot_s) == (0.5, None)
