DELETE FROM legacy_pairs;

DROP FUNCTION refresh_legacy_pairs();
