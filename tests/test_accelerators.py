"""The table of accelerators, laws that hold for real ones, and what is said about a wrong file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.accelerators import Accelerators, AcceleratorSpec
from harness.errors import InputError

SUITES = Path(__file__).parent.parent / "suites"
SHIPPED = Accelerators(SUITES)
GIVEN = yaml.safe_load((SUITES / "accelerators.yaml").read_text(encoding="utf-8"))
NAMES = ["a100-80gb-sxm", "h100-sxm", "h200-sxm", "b200", "l40s", "rtx-4090", "mi300x", "mi325x", "a100-40gb-pcie"]
DEVICES = [pytest.param(device, id=device.name) for device in SHIPPED]


class TestShipped:
    def test_every_device_that_is_promised_is_there(self) -> None:
        assert sorted(SHIPPED.names()) == sorted(NAMES)
        assert [device.name for device in SHIPPED] == SHIPPED.names()

    @pytest.mark.parametrize("device", DEVICES)
    def test_a_narrower_precision_is_at_least_as_fast(self, device: AcceleratorSpec) -> None:
        order = ("float32", "tf32", "bfloat16", "fp8", "fp4")
        peaks = [device.peak_flops_per_s(key) for key in order if key in device.precisions]
        assert peaks == sorted(peaks)
        assert device.peak_flops_per_s("float16") == device.peak_flops_per_s("bfloat16")
        assert device.peak_flops_per_s("int8") >= 1.9 * device.peak_flops_per_s("bfloat16")

    @pytest.mark.parametrize("device", DEVICES)
    def test_the_ridge_lies_where_ridges_lie(self, device: AcceleratorSpec) -> None:
        assert 30 <= device.peak_flops_per_s("bfloat16") / device.bandwidth_bytes_per_s <= 1000

    @pytest.mark.parametrize("device", DEVICES)
    def test_memory_is_read_in_a_tenth_of_a_second_at_most(self, device: AcceleratorSpec) -> None:
        assert 0.01 < device.memory_bytes / device.bandwidth_bytes_per_s < 0.1
        assert device.memory_bytes % 10**9 == 0

    @pytest.mark.parametrize(
        ("name", "bfloat16_tflops", "gigabytes_per_s", "gigabytes"),
        [
            ("a100-80gb-sxm", 312, 2039, 80), ("h100-sxm", 989.4, 3350, 80), ("h200-sxm", 989.4, 4800, 141),
            ("b200", 2250, 8000, 180), ("l40s", 362.05, 864, 48), ("rtx-4090", 165.2, 1008, 24),
            ("mi300x", 1307.4, 5300, 192), ("mi325x", 1307.4, 6000, 256),
        ],
    )
    def test_figures_are_those_of_the_sheets(
        self, name: str, bfloat16_tflops: float, gigabytes_per_s: float, gigabytes: float
    ) -> None:
        device = SHIPPED.load(name)
        assert device.peak_flops_per_s("bfloat16") == pytest.approx(bfloat16_tflops * 1e12, rel=1e-12)
        assert device.bandwidth_bytes_per_s == pytest.approx(gigabytes_per_s * 1e9, rel=1e-12)
        assert device.memory_bytes == gigabytes * 1e9

    def test_compute_units_give_the_peaks_of_the_mi300x(self) -> None:
        device = SHIPPED.load("mi300x")
        for precision, a_clock in (("float32", 256), ("tf32", 1024), ("bfloat16", 2048), ("fp8", 4096)):
            assert device.peak_flops_per_s(precision) == pytest.approx(304 * 2.1e9 * a_clock, rel=3e-4)

    @pytest.mark.parametrize("device", DEVICES)
    def test_what_was_halved_or_priced_says_where_it_is_from(self, device: AcceleratorSpec) -> None:
        assert device.sources
        assert (device.price_usd_per_hour is None) == (device.price_source is None)


class TestNames:
    @pytest.mark.parametrize(
        ("given", "name"),
        [
            ("H100", "h100-sxm"), ("h100", "h100-sxm"), ("H100-SXM", "h100-sxm"), (" h100  sxm ", "h100-sxm"),
            ("A100", "a100-80gb-sxm"), ("NVIDIA H100 80GB HBM3", "h100-sxm"), ("RTX 4090", "rtx-4090"),
            ("MI300X", "mi300x"), ("B200", "b200"),
        ],
    )
    def test_a_short_name_is_understood(self, given: str, name: str) -> None:
        assert SHIPPED.load(given).name == name

    @pytest.mark.parametrize("device", DEVICES)
    def test_name_title_and_aliases_mean_the_device(self, device: AcceleratorSpec) -> None:
        assert all(SHIPPED.load(alias.upper()) == device for alias in (device.name, *device.aliases))

    def test_an_unknown_name_suggests_the_nearest(self) -> None:
        with pytest.raises(InputError, match=r"unknown accelerator 'H100-SMX'\n  did you mean 'h100-sxm'"):
            SHIPPED.load("H100-SMX")

    @pytest.mark.parametrize("name", ["", "..", "/etc/passwd", "*", "tpu-v5p-of-another-vendor"])
    def test_a_name_that_is_near_to_none_lists_all(self, name: str) -> None:
        with pytest.raises(InputError, match="known: a100-40gb-pcie, a100-80gb-sxm, b200") as raised:
            SHIPPED.load(name)
        assert raised.value.exit_code == 2


class TestPeaks:
    def test_a_precision_without_a_peak_is_refused(self) -> None:
        with pytest.raises(InputError, match="NVIDIA A100 80GB SXM has no peak for compute in 'fp8'") as raised:
            SHIPPED.load("A100").peak_flops_per_s("fp8")
        assert raised.value.hint == "it has float32, tf32, bfloat16, float16, int8"

    @pytest.mark.parametrize("precision", ["", "bf16", "model_fields", "__class__", "copy"])
    def test_only_the_keys_of_the_table_are_precisions(self, precision: str) -> None:
        with pytest.raises(InputError, match="has no peak"):
            SHIPPED.load("H100").peak_flops_per_s(precision)


def write(folder: Path, text: str) -> Accelerators:
    (folder / "accelerators.yaml").write_text(text, encoding="utf-8")
    return Accelerators(folder)


def changed(**changes: Any) -> str:
    """The H100 alone, with some values changed, and left out where the change is `...`."""
    values = {**GIVEN["h100-sxm"], **changes}
    return yaml.safe_dump({"h100-sxm": {key: value for key, value in values.items() if value is not ...}})


def peaks(**changes: Any) -> dict[str, Any]:
    return {"dense_flops_per_s": {**GIVEN["h100-sxm"]["dense_flops_per_s"], **changes}}


class TestWrongFiles:
    @pytest.mark.parametrize(
        ("changes", "key", "what"),
        [
            ({"memory_bytes": "80e9"}, "memory_bytes", "valid integer (given: '80e9')"),
            ({"memory_bytes": 80}, "memory_bytes", "(given: 80)"),
            ({"memory_bytes": 8.5e10 + 0.5}, "memory_bytes", "integer"),
            ({"memory_bytes": True}, "memory_bytes", "integer"),
            ({"memory_bytes": None}, "memory_bytes", "integer"),
            ({"memory_bytes": ...}, "memory_bytes", "required"),
            ({"bandwidth_bytes_per_s": -3.35e12}, "bandwidth_bytes_per_s", "(given: -335"),
            ({"bandwidth_bytes_per_s": 3.35}, "bandwidth_bytes_per_s", "(given: 3.35)"),
            ({"bandwidth_bytes_per_s": float("nan")}, "bandwidth_bytes_per_s", "finite number"),
            ({"bandwidth_bytes_per_s": [3.35e12]}, "bandwidth_bytes_per_s", "valid number"),
            (peaks(bfloat16=float("inf")), "dense_flops_per_s.bfloat16", "finite number"),
            (peaks(bfloat16="989.4e12"), "dense_flops_per_s.bfloat16", "valid number (given: '989.4e12')"),
            (peaks(bfloat16=None), "dense_flops_per_s.bfloat16", "valid number"),
            (peaks(fp8=0.0), "dense_flops_per_s.fp8", "(given: 0.0)"),
            (peaks(bfloat=1e12), "dense_flops_per_s.bfloat", "unknown key 'bfloat'; did you mean 'bfloat16'"),
            ({"dense_flops_per_s": 989.4e12}, "dense_flops_per_s", ""),
            ({"price_usd_per_hour": 0}, "price_usd_per_hour", "greater than 0"),
            ({"price_usd_per_hour": "3.20"}, "price_usd_per_hour", "valid number"),
            ({"price_usd_per_hour": ...}, "price_usd_per_hour", "required"),
            ({"price_read_on": "last week"}, "price_read_on", "date"),
            ({"price_source": None}, "", "go together"),
            ({"price_usd_per_hour": None}, "", "go together"),
            ({"prise_usd_per_hour": 3}, "prise_usd_per_hour", "did you mean 'price_usd_per_hour'"),
            ({"aliases": "H100"}, "aliases", ""),
            ({"aliases": [100]}, "aliases[0]", "valid string (given: 100)"),
            ({"title": ""}, "title", "at least 1"),
            ({"name": "h100"}, "name", "the key above it"),
            ({"sources": []}, "sources", "at least 1"),
            ({"sources": [{"document": "d", "url": "ftp://x", "figures": "f", "source_quality": "recalled"}]},
             "sources[0].url", "pattern"),
            ({"sources": [{"document": "d", "url": "https://x", "figures": "f", "source_quality": "certain"}]},
             "sources[0].source_quality", "known: data-sheet, recalled, third-party"),
        ],
    )
    def test_a_wrong_value_is_named_with_its_file(
        self, tmp_path: Path, changes: dict[str, Any], key: str, what: str
    ) -> None:
        accelerators = write(tmp_path, changed(**changes))
        with pytest.raises(InputError) as raised:
            accelerators.load("h100-sxm")
        place = f"{tmp_path / 'accelerators.yaml'}:h100-sxm"
        assert raised.value.where == (f"{place}:{key}" if key else place)
        assert what in raised.value.what
        assert "\n" not in f"{raised.value.where}: {raised.value.what}"

    @pytest.mark.parametrize(
        ("text", "what"),
        [
            ("", "a mapping of names"), ("- h100", "a mapping of names"), ("h100", "a mapping of names"),
            ("{}", "a mapping of names"), ("h100:", "a mapping of keys"), ("h100: 3", "a mapping of keys"),
            ("H100: {}", "pattern"), ("1: {}", "required"), ("{", "cannot be read as YAML"),
            ("h100: {title: a, title: b}", "the key 'title' is given twice"),
            ("h100: {}\nh200: {}\nh100: {}", "the key 'h100' is given twice"),
            ("h100: {sources: [{url: a, url: b}]}", "the key 'url' is given twice"),
            ("h100: {<<: {title: a}, <<: {title: b}}", "given twice"),
            ("h100: {price_read_on: 2026-02-30}", "'2026-02-30' is no timestamp; text goes in quotes"),
            ("h100: 0b_", "'0b_' is no int"), ("h100: !!bool maybe", "'maybe' is no bool"),
            ("h100: !!python/object:os.system {}", "could not determine"),
            ("h100: &a [*a]", "aliases"), ("a: &a {b: 1}\nc: *a", "aliases"), ("a: 1\n---\nb: 1", "another document"),
            ("[" * 100_000, "nest"), ("{a: " * 100_000, "nest"),
            ("? [1, 2]\n: {}\n", "unhashable"), ("a: \x07", "unacceptable character"),
            ("a: '\ufffe'", "unacceptable character"),
        ],
    )
    def test_a_file_that_is_no_table_is_refused_in_one_line(self, tmp_path: Path, text: str, what: str) -> None:
        accelerators = write(tmp_path, text)
        with pytest.raises(InputError) as raised:
            accelerators.names()
        assert raised.value.where.startswith(str(tmp_path / "accelerators.yaml"))
        assert what in raised.value.what
        assert "\n" not in raised.value.what

    def test_a_doubled_key_is_named_with_its_line(self, tmp_path: Path) -> None:
        accelerators = write(tmp_path, "h100:\n  title: a\n  vendor: b\n  title: c\n")
        with pytest.raises(InputError) as raised:
            accelerators.names()
        assert raised.value.where.endswith("accelerators.yaml:4")

    def test_an_alias_of_two_devices_is_refused(self, tmp_path: Path) -> None:
        two = {"h100-sxm": GIVEN["h100-sxm"], "h200-sxm": {**GIVEN["h200-sxm"], "aliases": ["h100"]}}
        with pytest.raises(InputError, match="h200-sxm:aliases: 'h100' also means 'h100-sxm'"):
            write(tmp_path, yaml.safe_dump(two)).load("H100")

    def test_a_missing_file_or_one_that_is_no_text_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="No such file"):
            Accelerators(tmp_path).names()
        write(tmp_path, "")
        (tmp_path / "accelerators.yaml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InputError, match="cannot be read as YAML"):
            Accelerators(tmp_path).names()


@pytest.mark.slow
def test_the_table_is_read_without_heavy_packages() -> None:
    code = (
        "import sys; from pathlib import Path; from harness.accelerators import Accelerators; "
        f"Accelerators(Path({str(SUITES)!r})).load('H100'); "
        "print(sorted({'numpy', 'pandas', 'scipy', 'torch', 'plotly'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_price_of_ones_own_replaces_the_list_price() -> None:
    changed = {one.name: one for one in SHIPPED.priced({"H100": 1.25}, "set by the suite")}
    assert changed["h100-sxm"].price_usd_per_hour == 1.25
    assert changed["h100-sxm"].price_source == "set by the suite"
    assert changed["h200-sxm"] == SHIPPED.load("h200-sxm")
    with pytest.raises(InputError, match="unknown accelerator") as raised:
        SHIPPED.priced({"H1000": 1.0}, "set by the suite")
    assert raised.value.where == "prices_usd_per_hour.H1000"


def test_an_unknown_name_is_reported_where_it_was_given() -> None:
    with pytest.raises(InputError, match="--fits: unknown accelerator 'H1000'"):
        SHIPPED.load("H1000", "--fits")


@pytest.mark.parametrize(("prices", "key", "what"), [
    ({"H100": 1.0, "h100-sxm": 2.0}, "h100-sxm", "'H100' and 'h100-sxm' are the same device"),
    ({"H1000": 1.0}, "H1000", "unknown accelerator 'H1000'"),
    ({"H100": 0.0009}, "H100", "must be a price from 0.001 to 100000 USD an hour, not 0.0009"),
    ({"H100": 100_001.0}, "H100", "must be a price from 0.001"),
    ({"H100": float("nan")}, "H100", "must be a price from 0.001"),
])
def test_prices_of_a_suite_are_checked(prices: dict[str, float], key: str, what: str) -> None:
    with pytest.raises(InputError) as raised:
        SHIPPED.prices(prices, "suite.yaml:prices_usd_per_hour")
    assert raised.value.where == f"suite.yaml:prices_usd_per_hour.{key}" and what in raised.value.what


def test_prices_go_by_the_devices_own_names() -> None:
    assert SHIPPED.prices({"H100": 0.001, "A100": 100_000}) == {"h100-sxm": 0.001, "a100-80gb-sxm": 100_000}
