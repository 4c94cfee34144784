-- Pairs that appeared while phase 1 was being reviewed: found, mapped and given symbols before the copy starts.

SELECT refresh_legacy_pairs();

SELECT map_legacy_spellings();

SELECT populate_symbols();
