-- Queries of the old application in its own words, answered from the normalised tables.

-- The latest ticker of one pair.
CREATE FUNCTION latest_ticker_legacy(p_exchange text, p_base text, p_quote text)
RETURNS SETOF book_ticker_snapshots_legacy
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT t.id, e.enum_value, s.base_asset, s.quote_asset,
           t.bid_price, t.bid_qty, t.ask_price, t.ask_qty, t."timestamp", t.sequence_number, t.update_type, t.created_at
    FROM exchanges e
    JOIN symbols s ON s.exchange_id = e.id
    CROSS JOIN LATERAL (
        SELECT * FROM book_ticker_snapshots_v2 b WHERE b.symbol_id BETWEEN s.id AND s.id
        ORDER BY b.symbol_id, b."timestamp" DESC LIMIT 1
    ) AS t
    WHERE e.enum_value = p_exchange AND s.base_asset = p_base AND s.quote_asset = p_quote
$$;

-- The tickers of one pair since a moment, oldest first.
CREATE FUNCTION tickers_since_legacy(
    p_exchange text, p_base text, p_quote text, p_since timestamptz, p_limit integer DEFAULT 10000
) RETURNS SETOF book_ticker_snapshots_legacy
LANGUAGE sql STABLE AS $$
    SELECT * FROM book_ticker_snapshots_legacy
    WHERE exchange = p_exchange AND symbol_base = p_base AND symbol_quote = p_quote AND "timestamp" >= p_since
    ORDER BY "timestamp"
    LIMIT p_limit
$$;

-- The trades of one pair since a moment, oldest first.
CREATE FUNCTION trades_since_legacy(
    p_exchange text, p_base text, p_quote text, p_since timestamptz, p_limit integer DEFAULT 10000
) RETURNS SETOF trades_legacy
LANGUAGE sql STABLE AS $$
    SELECT * FROM trades_legacy
    WHERE exchange = p_exchange AND symbol_base = p_base AND symbol_quote = p_quote AND "timestamp" >= p_since
    ORDER BY "timestamp", id
    LIMIT p_limit
$$;
