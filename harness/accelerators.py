"""The devices of `suites/accelerators.yaml`: what their vendors promise, and what an hour of one costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from harness.errors import InputError, nearest
from harness.schema import Frozen, parse_strictly
from harness.yaml_scalars import FAST_LOADER, problem_of

SheetQuality = Literal["data-sheet", "third-party", "recalled"]
"""How well a figure is known: read in the vendor's own document, read where others quote it, or from memory."""

Text = Annotated[str, Field(strict=True, min_length=1)]
Rate = Annotated[float, Field(strict=True, ge=1e9)]
"""A second's bytes or operations. No device here does fewer than 1e9: a smaller number was meant in GB or TFLOPS."""

PRICES_USD_PER_HOUR = (0.001, 100_000)
"""The least and the most that an hour of one device may cost in a suite: beyond any price, and a slip of the pen."""


class Source(Frozen):
    """A document of the vendor, which figures it gives, and how they were read and converted."""

    document: Text
    url: Annotated[str, Field(pattern=r"^https://\S+$")]
    figures: Text
    source_quality: SheetQuality


class DensePeaks(Frozen):
    """Peak FLOP/s (int8: operations/s) by the precision of the factors, without 2:4 sparsity; None: not supported.

    `float32` is that of the ordinary units; the others are those of the matrix units, summing in float32 (int8: int32).
    """

    float32: Rate
    tf32: Rate | None = None
    bfloat16: Rate
    float16: Rate
    fp8: Rate | None = None
    int8: Rate | None = None
    fp4: Rate | None = None


class AcceleratorSpec(Frozen):
    """One device. Memory and bandwidth are the vendor's, with GB = 1e9 bytes and TB/s = 1e12 bytes a second.

    `aliases` are its other names: the vendor's short one, and those that the driver reports.
    The price is what one device costs an hour; it comes with its source and the day it was read, or not at all.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: Text
    vendor: Text
    aliases: tuple[Text, ...] = ()
    memory_bytes: Annotated[int, Field(strict=True, ge=10**9)]
    bandwidth_bytes_per_s: Rate
    dense_flops_per_s: DensePeaks
    price_usd_per_hour: Annotated[float, Field(strict=True, gt=0)] | None
    price_source: Text | None = None
    price_read_on: date | None = None
    price_quality: SheetQuality | None = None
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _price_has_a_source(self) -> AcceleratorSpec:
        about = (self.price_source, self.price_read_on, self.price_quality)
        if any((value is None) != (self.price_usd_per_hour is None) for value in about):
            raise ValueError("price_usd_per_hour, price_source, price_read_on and price_quality go together, or none")
        return self

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions whose peak is known, in the order of `DensePeaks`."""
        return tuple(key for key, value in self.dense_flops_per_s if value is not None)

    def priced(self, usd_per_hour: float, source: str) -> AcceleratorSpec:
        """The same device at another price, as from a suite; `source` says whose price that is."""
        about = {"price_source": source, "price_read_on": None, "price_quality": None}
        return self.model_copy(update={"price_usd_per_hour": usd_per_hour, **about})

    def peak_flops_per_s(self, precision_of_compute: str) -> float:
        """The dense peak in FLOP/s (int8: operations/s) for factors of that precision, a key of `DensePeaks`.

        Raises InputError where the device has no such peak: none is taken in its place.
        """
        if precision_of_compute not in self.precisions:
            what = f"{self.title} has no peak for compute in {precision_of_compute!r}"
            raise InputError(what, hint=f"it has {', '.join(self.precisions)}")
        return float(getattr(self.dense_flops_per_s, precision_of_compute))


@dataclass(frozen=True)
class Accelerators:
    """The devices of `data_dir/accelerators.yaml`, read when the first one is asked for.

    Every method raises InputError for a file that cannot be read or breaks the schema, naming file and key.
    """

    data_dir: Path

    def names(self) -> list[str]:
        """The names of all devices, in the order of the file."""
        return list(self._devices)

    def load(self, name: str, where: str = "") -> AcceleratorSpec:
        """The device of that name or alias, in small or capital letters.

        Raises InputError with the nearest names if there is none; `where` is the option or key that named it.
        """
        key = _folded(name)
        found = self._by_alias.get(key)
        if found is None:
            near = nearest(key, self._by_alias)
            # where none is near, the names say what there is without their many aliases
            hint = near if near.startswith("did you mean") else nearest("", self._devices)
            raise InputError(f"unknown accelerator {name!r}", where=where or str(self._path), hint=hint)
        return found

    def prices(self, usd_per_hour: Mapping[str, float], where: str = "prices_usd_per_hour") -> dict[str, float]:
        """Prices in USD an hour by the devices' own names; `where` is the key that holds them, with its file.

        Raises InputError for an unknown name, a device that is named twice, and a price outside `PRICES_USD_PER_HOUR`.
        """
        low, high = PRICES_USD_PER_HOUR
        given: dict[str, str] = {}
        for name, price in usd_per_hour.items():
            device = self.load(name, f"{where}.{name}").name
            if device in given:
                what = f"{given[device]!r} and {name!r} are the same device"
                raise InputError(what, where=f"{where}.{name}", hint=f"give {device!r} one price")
            if not low <= price <= high:
                what = f"must be a price from {low:g} to {high:g} USD an hour, not {price:g}"
                raise InputError(what, where=f"{where}.{name}")
            given[device] = name
        return {device: usd_per_hour[name] for device, name in given.items()}

    def priced(self, usd_per_hour: Mapping[str, float], source: str) -> list[AcceleratorSpec]:
        """All devices, those named in `usd_per_hour` at that price. Raises InputError as `prices` does."""
        prices = self.prices(usd_per_hour)
        return [one.priced(prices[one.name], source) if one.name in prices else one for one in self]

    def __iter__(self) -> Iterator[AcceleratorSpec]:
        """All devices, in the order of the file."""
        return iter(self._devices.values())

    @property
    def _path(self) -> Path:
        return self.data_dir / "accelerators.yaml"

    @cached_property
    def _devices(self) -> dict[str, AcceleratorSpec]:
        raw = _read(self._path)
        if not isinstance(raw, dict) or not raw:
            raise InputError("a mapping of names to devices is expected", where=str(self._path))
        return {str(name): _device(str(name), values, self._path) for name, values in raw.items()}

    @cached_property
    def _by_alias(self) -> dict[str, AcceleratorSpec]:
        found: dict[str, AcceleratorSpec] = {}
        for device in self._devices.values():
            for alias in dict.fromkeys(_folded(text) for text in (device.name, *device.aliases)):
                if alias in found:
                    what = f"{alias!r} also means {found[alias].name!r}"
                    raise InputError(what, where=f"{self._path}:{device.name}:aliases")
                found[alias] = device
        return found


def _folded(name: str) -> str:
    return " ".join(name.split()).casefold()


def _device(name: str, values: object, path: Path) -> AcceleratorSpec:
    where = f"{path}:{name}"
    if not isinstance(values, dict):
        raise InputError("a mapping of keys is expected", where=where)
    if "name" in values:
        raise InputError("a device's name is the key above it", where=f"{where}:name")
    return parse_strictly(AcceleratorSpec, {**values, "name": name}, where=where)


def _read(path: Path) -> object:
    """What the YAML holds. Raises InputError, with the line where there is one."""
    try:
        return _plain(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:  # UnicodeDecodeError is a ValueError
        problem, line = problem_of(error)
        raise InputError(f"cannot be read as YAML: {problem}", where=f"{path}{line}") from None


def _plain(text: str) -> object:
    # before anything recurses: libyaml's composer overruns the C stack where thousands of brackets open
    depth = 0
    events: Iterator[Any] = yaml.parse(text, Loader=FAST_LOADER)  # the stubs keep libyaml's marks apart from Python's
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > 8:
            problem = "nested too deeply" if depth > 8 else "aliases (*) are not taken"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
    loader = FAST_LOADER(text)
    try:
        node = loader.get_single_node()
        _refuse_doubled_keys(node)
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_doubled_keys(node: yaml.Node | None) -> None:
    """YAML would keep the last of two equal keys silently. Raises MarkedYAMLError at the second one."""
    children: list[Any] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {name!r} is given twice", problem_mark=key.start_mark)
            seen.add(name)
            children.append(value)
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    for child in children:
        _refuse_doubled_keys(child)
