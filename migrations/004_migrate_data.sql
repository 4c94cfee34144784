-- After the copy: symbols for late pairs; statistics, so that the planner knows the new tables before anything reads
-- them; the shared sequences put ahead of every id in use (production rows were once loaded with ids of their own).
-- The copy itself is not here: sync and backfill do it, from the mapping in plan.toml.

-- Pairs that were listed while the copy ran; the comparison carries their rows, which wait among the rejects.
SELECT refresh_legacy_pairs();

SELECT map_legacy_spellings();

SELECT populate_symbols();

-- One sample slot a pair: 100 (the default) would hide all but the busiest ones.
ALTER TABLE book_ticker_snapshots_v2 ALTER COLUMN symbol_id SET STATISTICS 1000;

ALTER TABLE trade_snapshots_v2 ALTER COLUMN symbol_id SET STATISTICS 1000;

-- Assets depend on the exchange: without this the planner multiplies both selectivities.
CREATE STATISTICS symbols_exchange_quote (dependencies, ndistinct) ON exchange_id, quote_asset FROM symbols;

ANALYZE symbols;

ANALYZE book_ticker_snapshots_v2;

ANALYZE trade_snapshots_v2;

-- Only ever forward: a value in use by a writer right now lies below the new start.
SELECT setval('book_ticker_snapshots_id_seq', top.id + 1000)
FROM (SELECT max(id) AS id FROM book_ticker_snapshots_v2) AS top
WHERE top.id >= (SELECT last_value FROM book_ticker_snapshots_id_seq);

SELECT setval('trades_id_seq', top.id + 1000)
FROM (SELECT max(id) AS id FROM trade_snapshots_v2) AS top
WHERE top.id >= (SELECT last_value FROM trades_id_seq);
