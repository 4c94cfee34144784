DROP VIEW legacy_pair_problems;

DROP VIEW legacy_exchange_report;

DROP FUNCTION exchange_candidates(text);

DROP TABLE legacy_pairs;

DROP VIEW legacy_symbol_names;

DROP TRIGGER exchanges_canonical_name ON exchanges;

DROP FUNCTION add_canonical_name();

DROP TABLE exchange_names;
