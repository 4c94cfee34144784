"""What one application wrote, so that it can compare every row with the database at the end.

Content follows from key and version, so a row costs the ledger two small integers and half a million fit in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from marketdata.models import LegacyBookTicker, Pair

# Symbol and typical price in steps of 0.00000001; the generator of the demo has them too.
_ASSETS = {
    "BTC": 11_280_050_000_000, "ETH": 383_025_000_000, "SOL": 18_240_000_000, "XRP": 238_000_000, "LUNC": 3_520,
    "PEPE": 712, "SHIB": 1_024, "BONK": 1_480, "FLOKI": 7_330, "BTT": 352,
    "DOGE": 18_950_000, "ADA": 63_210_000, "TRX": 31_870_000, "LINK": 1_742_000_000, "DOT": 297_000_000,
    "AVAX": 2_160_000_000, "LTC": 9_620_000_000, "BCH": 52_010_000_000, "UNI": 631_000_000, "ATOM": 327_000_000,
}  # fmt: skip
_EXCHANGES = ("MEXC_SPOT", "GATEIO_SPOT", "GATEIO_FUTURES")
# An exchange that nobody mapped: the legacy table takes its rows, the normalised one cannot.
UNMAPPED = (Pair("BINANCE", "BTC", "USDT"), Pair("BINANCE", "ETH", "USDT"))
MAPPED = tuple(Pair(exchange, asset, "USDT") for asset in _ASSETS for exchange in _EXCHANGES)
PAIRS = MAPPED + UNMAPPED
INDEX = {pair: index for index, pair in enumerate(PAIRS)}
SLOTS = 64  # workers, and pairs, that keys have room for
DELETED = -1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MASK = (1 << 64) - 1
_STEP = Decimal("0.00000001")


def make_key(microseconds: int, pair: Pair) -> int:
    """The key of a row: its instant (microseconds since 1970) and its pair in one integer."""
    return microseconds * SLOTS + INDEX[pair]


def instant(key: int) -> datetime:
    """The instant of a key."""
    return _EPOCH + timedelta(microseconds=key // SLOTS)


def pair_of(key: int) -> Pair:
    """The pair of a key."""
    return PAIRS[key % SLOTS]


def microseconds(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def ticker(key: int, version: int) -> LegacyBookTicker:
    """The row of a key in a version: always the same, different in every version."""
    pair = pair_of(key)
    mix = (key * 0x9E3779B97F4A7C15 + version * 0xC2B2AE3D27D4EB4F) & _MASK
    mix ^= mix >> 29
    mix = mix * 0xBF58476D1CE4E5B9 & _MASK
    units = _ASSETS[pair.base]
    bid = units + units * (mix & 1023) // 50_000 + 1
    lot = 500_000_000_000 * 100_000_000 // units
    return LegacyBookTicker(
        instant(key),
        pair,
        bid * _STEP,
        (1 + lot * (1 + (mix >> 10 & 1023)) // 1024) * _STEP,
        (bid + (mix >> 20 & 7)) * _STEP,
        (1 + lot * (1 + (mix >> 24 & 1023)) // 1024) * _STEP,
        version * 10_000_000_000 + (mix >> 40),
        "snapshot" if mix & 7 == 0 else "update",
    )


class Ledger:
    """The last known version of every row that one worker wrote."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}
        self._unsure: dict[int, set[int]] = {}  # keys whose last write may or may not have happened

    def __len__(self) -> int:
        return len(self._known)

    def version(self, key: int) -> int:
        """The last known version, DELETED where there is no row."""
        return self._known.get(key, DELETED)

    def is_sure(self, key: int) -> bool:
        """Whether it is known what the database holds for this key."""
        return key not in self._unsure

    def wrote(self, key: int, version: int) -> None:
        """A write of this version (DELETED for a delete) was confirmed."""
        self._known[key] = version
        self._unsure.pop(key, None)

    def may_have_written(self, key: int, version: int) -> None:
        """The connection broke during a write: the row holds this version or an earlier one."""
        self._unsure.setdefault(key, {self.version(key)}).add(version)
        self._known.setdefault(key, DELETED)

    def accepted(self, key: int) -> set[int]:
        """The versions that the database may hold."""
        return self._unsure.get(key) or {self.version(key)}

    def span(self) -> tuple[datetime, datetime] | None:
        """The first and the last instant written; None when nothing was."""
        return (instant(min(self._known)), instant(max(self._known))) if self._known else None

    def __iter__(self) -> Iterator[int]:
        """Every key ever written."""
        return iter(self._known)
