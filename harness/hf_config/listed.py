"""Lists of layers by their numbers."""

from __future__ import annotations

from harness.config_keys import ConfigKeys, shown


def listed_layers(config: ConfigKeys, key: str, layers: int) -> list[bool] | None:
    """Whether `key` lists each layer's number; None where it is absent."""
    numbers = config.items(key)
    if numbers is None:
        return None
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < layers:
            raise config.error(key, f"has {shown(number)}; the layers are 0 to {layers - 1}")
    return [layer in numbers for layer in range(layers)]
