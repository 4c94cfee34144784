-- A pair that was listed after P2.1.4 has no symbol: rows of it that an old application wrote wait among the rejects.
-- It gets one here; the comparison that follows carries those rows.

SELECT refresh_legacy_pairs();

SELECT map_legacy_spellings();

SELECT populate_symbols();
