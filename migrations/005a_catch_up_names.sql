-- Nobody writes the legacy tables any more: whatever pair they know that no symbol stands for gets one now, and the
-- last comparison carries its rows. After this only rows that cannot be understood stay behind.

SELECT refresh_legacy_pairs();

SELECT map_legacy_spellings();

SELECT populate_symbols();
