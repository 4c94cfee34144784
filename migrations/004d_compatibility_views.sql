-- The legacy shape over the normalised tables: a reader changes the table's name and nothing else.

CREATE VIEW book_ticker_snapshots_legacy AS
SELECT
    t.id, e.enum_value AS exchange, s.base_asset AS symbol_base, s.quote_asset AS symbol_quote,
    t.bid_price, t.bid_qty, t.ask_price, t.ask_qty, t."timestamp", t.sequence_number, t.update_type, t.created_at
FROM book_ticker_snapshots_v2 t
JOIN symbols s ON s.id = t.symbol_id
JOIN exchanges e ON e.id = s.exchange_id;

CREATE VIEW trades_legacy AS
SELECT
    t.id, t."timestamp", e.enum_value AS exchange, s.base_asset AS symbol_base, s.quote_asset AS symbol_quote,
    t.price, t.quantity, t.side, t.trade_id, t.quote_quantity, t.is_buyer, t.is_maker, t.created_at
FROM trade_snapshots_v2 t
JOIN symbols s ON s.id = t.symbol_id
JOIN exchanges e ON e.id = s.exchange_id;
