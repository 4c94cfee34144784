-- The explicit mapping of legacy spellings: a spelling that is not in exchange_names is never guessed.
-- Each exchange has exactly one canonical spelling; that is the one the way back writes.

CREATE TABLE exchange_names (
    legacy_name varchar(20) PRIMARY KEY,
    exchange_id smallint NOT NULL,
    is_canonical boolean NOT NULL DEFAULT false,
    reason text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT exchange_names_exchange_id_fkey FOREIGN KEY (exchange_id) REFERENCES exchanges (id)
);

CREATE UNIQUE INDEX exchange_names_canonical_key ON exchange_names (exchange_id) WHERE is_canonical;

CREATE INDEX idx_exchange_names_exchange ON exchange_names (exchange_id);

INSERT INTO exchange_names (legacy_name, exchange_id, is_canonical, reason)
SELECT enum_value, id, true, 'the engine''s own name' FROM exchanges;

-- An exchange that is created later is known by its own name at once.
CREATE FUNCTION add_canonical_name() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO exchange_names (legacy_name, exchange_id, is_canonical, reason)
    VALUES (NEW.enum_value, NEW.id, true, 'the engine''s own name');
    RETURN NULL;
END
$$;

CREATE TRIGGER exchanges_canonical_name AFTER INSERT ON exchanges
    FOR EACH ROW EXECUTE FUNCTION add_canonical_name();

-- One row for each spelling of a pair that is understood: what every legacy row is looked up in.
CREATE VIEW legacy_symbol_names AS
SELECT
    x.legacy_name AS exchange,
    s.base_asset AS symbol_base,
    s.quote_asset AS symbol_quote,
    s.id AS symbol_id,
    x.is_canonical
FROM exchange_names x
JOIN symbols s ON s.exchange_id = x.exchange_id;

-- The spellings that the legacy tables hold, as last extracted.
CREATE TABLE legacy_pairs (
    exchange varchar(20) NOT NULL,
    symbol_base varchar(20) NOT NULL,
    symbol_quote varchar(20) NOT NULL,
    in_tickers boolean NOT NULL,
    in_trades boolean NOT NULL,
    extracted_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (exchange, symbol_base, symbol_quote)
);

-- Exchanges whose name begins like the given one, letters and digits only: GATEIO and gate.io could be two.
CREATE FUNCTION exchange_candidates(p_name text) RETURNS text[]
LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(e.enum_value::text ORDER BY e.id), '{}')
    FROM exchanges e,
         regexp_replace(upper(p_name), '[^A-Z0-9]', '', 'g') AS given,
         regexp_replace(e.enum_value, '[^A-Z0-9]', '', 'g') AS known
    WHERE given <> '' AND (starts_with(known, given) OR starts_with(given, known))
$$;

-- Every spelling of an exchange in the data, and what becomes of it.
CREATE VIEW legacy_exchange_report AS
SELECT
    p.exchange AS legacy_name,
    CASE
        WHEN e.id IS NOT NULL THEN 'mapped'
        WHEN cardinality(exchange_candidates(p.exchange)) > 1 THEN 'ambiguous'
        WHEN cardinality(exchange_candidates(p.exchange)) = 1 THEN 'unconfirmed'
        ELSE 'unmapped'
    END AS state,
    e.enum_value AS exchange,
    array_to_string(exchange_candidates(p.exchange), ', ') AS candidates,
    p.pairs
FROM (SELECT exchange, count(*) AS pairs FROM legacy_pairs GROUP BY exchange) AS p
LEFT JOIN exchange_names x ON x.legacy_name = p.exchange
LEFT JOIN exchanges e ON e.id = x.exchange_id;

-- Every pair in the data that no symbol stands for, and why. Its rows are reported as rejects, never guessed.
CREATE VIEW legacy_pair_problems AS
SELECT
    p.exchange, p.symbol_base, p.symbol_quote,
    CASE
        WHEN p.symbol_base = p.symbol_quote THEN 'base equals quote'
        WHEN x.legacy_name IS NULL THEN 'exchange name is not mapped'
        WHEN p.symbol_base <> upper(btrim(p.symbol_base)) OR p.symbol_quote <> upper(btrim(p.symbol_quote))
            OR p.symbol_base = '' OR p.symbol_quote = '' THEN 'asset name is not in capitals'
        ELSE 'no symbol yet'
    END AS problem
FROM legacy_pairs p
LEFT JOIN exchange_names x ON x.legacy_name = p.exchange
LEFT JOIN symbols s
    ON s.exchange_id = x.exchange_id AND s.base_asset = p.symbol_base AND s.quote_asset = p.symbol_quote
WHERE s.id IS NULL;
