"""What a tokenizer writes for the tokens that were routed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from harness.routing.tokens import StackTokens


def token_texts(tokenizer: Any, stacks: Iterable[StackTokens]) -> dict[int, str]:
    """The text of each token id that occurs, but for ids that the tokenizer does not have: models are often padded."""
    used = np.unique(np.concatenate([stack.token for stack in stacks]))
    ids = [int(one) for one in used if one < len(tokenizer)]
    return dict(zip(ids, tokenizer.batch_decode([[one] for one in ids]), strict=True))
