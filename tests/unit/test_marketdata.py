"""The market-data models without a database: conversions lose nothing, the ledger tells versions apart."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marketdata import ledger
from marketdata.ledger import DELETED, Ledger
from marketdata.models import LegacyBookTicker, LegacyTrade, OrderSide, Pair, exact

NAMES = st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=20)
PAIRS = st.builds(Pair, NAMES, NAMES, NAMES)
NUMBERS = st.decimals(min_value=Decimal("0.00000001"), max_value=Decimal("999999999999.99999999"), places=8)
INSTANTS = st.datetimes(timezones=st.just(UTC), min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1))
TICKERS = st.builds(
    LegacyBookTicker,
    INSTANTS,
    PAIRS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    st.none() | st.integers(0, 2**63 - 1),
    st.sampled_from(["snapshot", "update"]),
    st.none() | st.integers(1, 2**63 - 1),
    st.none() | INSTANTS,
)
TRADES = st.builds(
    LegacyTrade,
    INSTANTS,
    PAIRS,
    NUMBERS,
    NUMBERS,
    st.sampled_from(OrderSide),
    st.none() | st.text(),
    st.none() | NUMBERS,
    st.none() | st.booleans(),
    st.none() | st.booleans(),
    st.none() | st.integers(1, 2**63 - 1),
    st.none() | INSTANTS,
)


@given(TICKERS, st.integers(1, 2**31 - 1))
def test_a_ticker_goes_to_the_normalised_form_and_back_without_loss(ticker: LegacyBookTicker, symbol_id: int) -> None:
    normalised = ticker.normalised(symbol_id)
    assert normalised.symbol_id == symbol_id
    assert normalised.legacy(ticker.pair) == ticker
    assert normalised.legacy(ticker.pair).normalised(symbol_id) == normalised


@given(TRADES, st.integers(1, 2**31 - 1))
def test_a_trade_goes_to_the_normalised_form_and_back_without_loss(trade: LegacyTrade, symbol_id: int) -> None:
    assert trade.normalised(symbol_id).legacy(trade.pair) == trade


@pytest.mark.parametrize("text", ["0.000000001", "NaN", "Infinity", "1000000000000", "3.4000000000000001"])
def test_a_number_that_would_be_rounded_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"decimals|fit"):
        exact(text)


@pytest.mark.parametrize("text", ["0.00000352", "1400000000", "1.500000000000", "-999999999999.99999999", "1E+3"])
def test_a_number_that_fits_keeps_its_value(text: str) -> None:
    assert exact(text) == Decimal(text)


def test_the_real_rows_go_to_the_normalised_form_and_back(shared_data: Path) -> None:
    ids: dict[Pair, int] = {}
    rows = 0
    with gzip.open(shared_data / "book_ticker_snapshots.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            pair = Pair(row["exchange"], row["symbol_base"], row["symbol_quote"])
            bid, bid_qty, ask, ask_qty = (Decimal(row[n]) for n in ("bid_price", "bid_qty", "ask_price", "ask_qty"))
            legacy = LegacyBookTicker(datetime.fromisoformat(row["timestamp"]), pair, bid, bid_qty, ask, ask_qty)
            back = legacy.normalised(ids.setdefault(pair, len(ids) + 1)).legacy(pair)
            assert back == legacy
            # Equal Decimals may differ in trailing zeros; what is stored must not.
            assert [str(n) for n in (back.bid_price, back.bid_qty, back.ask_price, back.ask_qty)] == [
                str(n) for n in (bid, bid_qty, ask, ask_qty)
            ]
            rows += 1
    assert rows == 20_000
    assert len(ids) == 2


def test_a_key_gives_its_instant_and_pair_back() -> None:
    for pair in ledger.PAIRS:
        key = ledger.make_key(1_763_942_400_123_456, pair)
        assert ledger.pair_of(key) == pair
        assert ledger.microseconds(ledger.instant(key)) == 1_763_942_400_123_456


def test_content_follows_from_key_and_version_and_satisfies_the_legacy_checks() -> None:
    for pair in ledger.PAIRS:
        key = ledger.make_key(1_763_942_400_123_456, pair)
        versions = [ledger.ticker(key, version) for version in range(5)]
        assert versions[3] == ledger.ticker(key, 3)
        assert len({row.sequence_number for row in versions}) == 5
        for row in versions:
            assert 0 < row.bid_price <= row.ask_price
            assert row.bid_qty > 0
            assert row.ask_qty > 0
            assert exact(row.bid_qty) == row.bid_qty


def test_a_ledger_accepts_both_outcomes_of_a_write_that_was_cut_off() -> None:
    book = Ledger()
    book.wrote(10, 0)
    book.may_have_written(10, 1)
    book.may_have_written(20, 0)
    assert book.accepted(10) == {0, 1}
    assert book.accepted(20) == {DELETED, 0}
    assert not book.is_sure(10)
    book.wrote(10, 2)
    assert book.accepted(10) == {2}
    assert sorted(book) == [10, 20]
