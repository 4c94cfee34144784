DELETE FROM exchange_names WHERE NOT is_canonical;

DROP FUNCTION map_legacy_spellings();
