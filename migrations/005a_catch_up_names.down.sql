-- Names and symbols that were added stay: rows may use them, and phase 1's own way back removes them.
SELECT count(*) FROM symbols;
