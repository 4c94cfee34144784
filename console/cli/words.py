"""What the groups of words share: types of arguments, and how a command is made known to the parser."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Protocol

from console.commands.settings import Settings

Do = Callable[[Settings, argparse.Namespace], int]  # a command's act, given the words it was called with: exit code


class Add(Protocol):
    """Makes a command's parser; ``plan`` and ``dsn``: whether it takes ``--plan``, ``--layout`` and ``--dsn``."""

    def __call__(
        self, name: str, text: str, do: Do, *, plan: bool = True, dsn: bool = True
    ) -> argparse.ArgumentParser: ...


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """A type for argparse: a whole number within limits."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(
                f"{value} is not {f'from {least} to {most}' if most else f'{least} or more'}"
            )
        return value

    return read


def rate(text: str) -> float:
    """A type for argparse: operations a second, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of operations a second")
    return value


def formats(made: argparse.ArgumentParser, *names: str) -> None:
    """``--format`` with text, json and these."""
    made.add_argument("--format", choices=("text", "json", *names), default="text")
