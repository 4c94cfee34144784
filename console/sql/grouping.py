"""One transaction around a whole file, for files whose own BEGIN and COMMIT do not say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from console.transactions import Transactions

if TYPE_CHECKING:
    from console.sql.split import Part

_GROUP = 1


def one_transaction(parts: Sequence[Part], transactions: Transactions) -> tuple[Part, ...]:
    """The parts in one group where ``transactions`` asks for it; what contradicts that gets a fault. Never raises.

    A file that stands in one BEGIN..COMMIT as a whole says the same. Where a COMMIT comes earlier, the tool's
    transaction would end there and the rest run in none: that is refused, not guessed.
    """
    if transactions is Transactions.AS_WRITTEN or not parts:
        return tuple(parts)
    groups = {part.group for part in parts}
    if groups == {None}:
        if transactions is Transactions.WHOLE_OR_NONE and not any(part.transactional for part in parts):
            return tuple(parts)
        return tuple(replace(part, group=_GROUP) for part in parts)
    if len(groups) == 1:
        return tuple(parts)
    odd = next(index for index, part in enumerate(parts) if part.group != parts[0].group)
    named = "its own COMMIT ends the one transaction this file runs in, before this statement"
    return tuple(
        replace(part, node=None, fault=part.fault or named) if index == odd else part
        for index, part in enumerate(parts)
    )
