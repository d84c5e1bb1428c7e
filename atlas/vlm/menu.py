"""Decoding that can only choose from a numbered menu, for models in this process.

At each step, tokens are let through that go on with `3, 1+4`: numbers of the menu, each at most
once, with commas, spaces or plus signs between them.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

_PIECE = re.compile(r" ?[\d,+ ]*")
_BETWEEN = re.compile(r"[,+ ]+")
_MARKS = str.maketrans({"\N{LOWER ONE EIGHTH BLOCK}": " ", "Ġ": " "})
"""How tokenizers write a space: SentencePiece's, and that of byte-level BPE."""


class Menus:
    """What of a tokenizer's vocabulary can stand in an answer to a menu.

    Parameters
    ----------
    tokenizer : transformers tokenizer
        It has tokens for single digits and for commas, or `usable` is False.
    """

    def __init__(self, tokenizer: Any) -> None:
        size = len(tokenizer)
        tokens = tokenizer.convert_ids_to_tokens(list(range(size)))
        written = [token.translate(_MARKS) if isinstance(token, str) else "" for token in tokens]
        self._pieces = {id_: text for id_, text in enumerate(written)
                        if text and _PIECE.fullmatch(text)}  # fmt: skip
        self._end = tokenizer.eos_token_id
        known = {text.strip() for text in self._pieces.values()}
        self.usable = {*"0123456789", ","} <= known and self._end is not None

    def allowed(self, most: int, prompt: int) -> Callable[[int, Tensor], list[int]]:
        """Return what `generate` takes as `prefix_allowed_tokens_fn`.

        Parameters
        ----------
        most : int
            The last number of the menu, which begins with 1.
        prompt : int
            Tokens of the question, which stand before the answer.
        """

        def allowed_tokens(_: int, tokens: Tensor) -> list[int]:
            said = "".join(self._pieces.get(id_, "") for id_ in tokens[prompt:].tolist())
            fitting = [id_ for id_, text in self._pieces.items() if goes_on(said + text, most)]
            ended = complete(said, most) or not fitting
            return [*fitting, self._end] if ended else fitting

        return allowed_tokens


def goes_on(text: str, most: int) -> bool:
    """Return whether a text is the beginning of an answer to a menu."""
    *whole, last = _BETWEEN.split(text.lstrip(" "))
    if not _valid(whole, most) or (whole and not last and len(whole) == most):
        return False
    # What is not ended yet may become any number that it begins.
    left = {str(number) for number in range(1, most + 1)} - set(whole)
    return any(number.startswith(last) for number in left)


def complete(text: str, most: int) -> bool:
    """Return whether a text is an answer to a menu."""
    return _valid(_BETWEEN.split(text.strip(" ,+")), most)


def _valid(numbers: Sequence[str], most: int) -> bool:
    """Return whether all are numbers of the menu, and no two are the same."""
    in_menu = all(re.fullmatch(r"[1-9]\d{0,3}", one) and int(one) <= most for one in numbers)
    return in_menu and len(set(numbers)) == len(numbers)
