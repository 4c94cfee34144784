-- Exchanges, symbols and the mapping of legacy names. Cheap: only the small tables are read, and samples.

-- check: exchanges_seeded
-- title: The three exchanges exist
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT expected.enum_value, expected.market_type
FROM (VALUES ('MEXC_SPOT', 'SPOT'), ('GATEIO_SPOT', 'SPOT'), ('GATEIO_FUTURES', 'FUTURES'))
    AS expected (enum_value, market_type)
LEFT JOIN exchanges e ON e.enum_value = expected.enum_value AND e.market_type = expected.market_type
WHERE e.id IS NULL;

-- check: exchanges_complete
-- title: Every active exchange has its addresses and a rate limit
-- phase: 1
-- severity: warning
-- expect: zero rows
SELECT enum_value, base_url, websocket_url, rate_limit_requests_per_second
FROM exchanges
WHERE is_active AND (base_url IS NULL OR websocket_url IS NULL OR rate_limit_requests_per_second IS NULL);

-- check: exchange_lookups_agree
-- title: Each exchange is found by id and by name
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT e.id, e.enum_value, by_id.enum_value AS found_by_id, by_name.id AS found_by_name
FROM exchanges e
LEFT JOIN LATERAL exchange_by_id(e.id) AS by_id ON true
LEFT JOIN LATERAL exchange_by_enum(e.enum_value) AS by_name ON true
WHERE by_id.enum_value IS DISTINCT FROM e.enum_value OR by_name.id IS DISTINCT FROM e.id;

-- check: exchange_objects_sound
-- title: Constraints and indexes of exchanges are valid, its functions are there
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT 'constraint' AS kind, conname::text AS name FROM pg_constraint
WHERE conrelid = to_regclass('exchanges') AND NOT convalidated
UNION ALL
SELECT 'index', indexrelid::regclass::text FROM pg_index
WHERE indrelid = to_regclass('exchanges') AND NOT (indisvalid AND indisready)
UNION ALL
SELECT 'function', f FROM unnest(ARRAY[
    'exchange_by_id(integer)', 'exchange_by_enum(text)', 'active_exchanges(text)',
    'create_exchange(text,text,text,text,text,text,integer)',
    'update_exchange(text,text,text,text,integer,boolean)', 'deactivate_exchange(text)']) AS f
WHERE to_regprocedure(f) IS NULL;

-- check: symbol_objects_sound
-- title: Constraints and indexes of symbols are valid, its functions are there
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT 'constraint' AS kind, conname::text AS name FROM pg_constraint
WHERE conrelid = to_regclass('symbols') AND NOT convalidated
UNION ALL
SELECT 'index', indexrelid::regclass::text FROM pg_index
WHERE indrelid = to_regclass('symbols') AND NOT (indisvalid AND indisready)
UNION ALL
SELECT 'function', f FROM unnest(ARRAY[
    'symbol_by_pair(text,text,text)', 'symbol_by_string(text,text)', 'search_symbols(text,integer)',
    'symbol_spelling(text,text,text)', 'ensure_symbol(text,text,text)', 'deactivate_symbol(integer)',
    'touch_symbols(integer[],timestamptz)']) AS f
WHERE to_regprocedure(f) IS NULL;

-- check: symbol_lookups_agree
-- title: Symbols are found by pair and by the exchange's spelling (500 of them)
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT d.symbol_id, d.exchange, d.base_asset, d.quote_asset, by_pair.id AS by_pair, by_string.id AS by_string
FROM (SELECT * FROM symbol_directory ORDER BY symbol_id DESC LIMIT 500) AS d
LEFT JOIN LATERAL symbol_by_pair(d.exchange, d.base_asset, d.quote_asset) AS by_pair ON true
LEFT JOIN LATERAL symbol_by_string(d.exchange, d.symbol_string) AS by_string ON true
WHERE by_pair.id IS DISTINCT FROM d.symbol_id OR by_string.id IS DISTINCT FROM d.symbol_id;

-- check: symbols_well_formed
-- title: No symbol has equal or misspelt assets
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT id, exchange_id, base_asset, quote_asset, symbol_string
FROM symbols
WHERE base_asset = quote_asset
   OR base_asset <> upper(btrim(base_asset)) OR quote_asset <> upper(btrim(quote_asset))
   OR btrim(symbol_string) = '';

-- check: symbols_without_exchange
-- title: Every symbol belongs to an exchange
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT s.id, s.exchange_id, s.symbol_string
FROM symbols s LEFT JOIN exchanges e ON e.id = s.exchange_id
WHERE e.id IS NULL;

-- check: cache_directory_complete
-- title: The cache's one query returns every symbol
-- phase: 1
-- severity: error
-- expect: true
SELECT (SELECT count(*) FROM symbol_directory) = (SELECT count(*) FROM symbols) AS complete;

-- check: cache_triggers_enabled
-- title: Changes of exchanges and symbols are notified
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT wanted.name
FROM (VALUES
    ('exchanges', 'exchanges_notify'), ('symbols', 'symbols_notify_insert'), ('symbols', 'symbols_notify_update'),
    ('symbols', 'symbols_notify_delete'), ('symbols', 'symbols_notify_truncate')
) AS wanted (table_name, name)
LEFT JOIN pg_trigger t
    ON t.tgrelid = to_regclass(wanted.table_name) AND t.tgname = wanted.name AND t.tgenabled IN ('O', 'A')
WHERE t.oid IS NULL;

-- check: canonical_names
-- title: Each exchange has exactly one canonical spelling, its own name
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT e.enum_value, array_agg(x.legacy_name) AS canonical
FROM exchanges e
LEFT JOIN exchange_names x ON x.exchange_id = e.id AND x.is_canonical
GROUP BY e.id, e.enum_value
HAVING count(x.legacy_name) <> 1 OR min(x.legacy_name) <> e.enum_value;

-- check: names_not_guessed
-- title: No spelling is mapped that is more than another case or spaces around the name
-- phase: 1
-- severity: warning
-- expect: zero rows
SELECT x.legacy_name, e.enum_value AS mapped_to, x.reason
FROM exchange_names x JOIN exchanges e ON e.id = x.exchange_id
WHERE upper(btrim(x.legacy_name)) <> e.enum_value;

-- check: exchange_names_report
-- title: Every spelling of an exchange in the data, and what becomes of it
-- phase: 1
-- severity: info
-- expect: report
SELECT legacy_name, state, exchange, candidates, pairs FROM legacy_exchange_report ORDER BY state, legacy_name;

-- check: ambiguous_names
-- title: Names that could be several exchanges: their rows are reported, never guessed
-- phase: 1
-- severity: warning
-- expect: report
SELECT legacy_name, candidates, pairs FROM legacy_exchange_report WHERE state = 'ambiguous' ORDER BY legacy_name;

-- check: unmapped_names
-- title: Names of no known exchange, or of one that nobody confirmed
-- phase: 1
-- severity: warning
-- expect: report
SELECT legacy_name, state, candidates, pairs FROM legacy_exchange_report
WHERE state IN ('unmapped', 'unconfirmed') ORDER BY legacy_name;

-- check: pair_problems
-- title: Pairs in the data that no symbol stands for, by reason
-- phase: 1
-- severity: warning
-- expect: report
SELECT problem, count(*) AS pairs, min(exchange || ' ' || symbol_base || '/' || symbol_quote) AS example
FROM legacy_pair_problems GROUP BY problem ORDER BY problem;

-- check: mapped_pairs_have_symbols
-- title: Every extracted pair that is understood has a symbol
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT exchange, symbol_base, symbol_quote FROM legacy_pair_problems WHERE problem = 'no symbol yet';

-- check: spellings_resolve_to_one
-- title: No spelling of a pair resolves to two symbols
-- phase: 1
-- severity: error
-- expect: zero rows
SELECT exchange, symbol_base, symbol_quote, count(*) AS symbols
FROM legacy_symbol_names GROUP BY exchange, symbol_base, symbol_quote HAVING count(*) > 1;

-- check: names_protected
-- title: The names that rows resolve through cannot be changed
-- phase: 1
-- severity: error
-- expect: value = 3
SELECT count(*) FROM pg_trigger
WHERE tgname IN ('exchanges_protect', 'symbols_protect', 'exchange_names_protect') AND tgenabled IN ('O', 'A')
  AND tgrelid IN (to_regclass('exchanges'), to_regclass('symbols'), to_regclass('exchange_names'));

-- check: legacy_sizes
-- title: Size of the legacy tables
-- phase: 1
-- severity: info
-- expect: report
SELECT c.relname AS table_name, greatest(c.reltuples, 0)::bigint AS estimated_rows,
       pg_size_pretty(pg_relation_size(c.oid)) AS heap, pg_size_pretty(pg_indexes_size(c.oid)) AS indexes,
       pg_size_pretty(pg_total_relation_size(c.oid)) AS total
FROM pg_class c
WHERE c.relname IN ('book_ticker_snapshots', 'trades') AND c.relkind IN ('r', 'p')
ORDER BY c.relname;

-- check: ticker_names_unambiguous
-- title: No legacy spelling of a ticker's pair stands for two symbols, and each symbol has one canonical spelling
-- phase: 1
-- severity: error
-- kind: unambiguous mapping
-- mapping: book_ticker

-- check: trade_names_unambiguous
-- title: No legacy spelling of a trade's pair stands for two symbols, and each symbol has one canonical spelling
-- phase: 1
-- severity: error
-- kind: unambiguous mapping
-- mapping: trades
