"""The hazards of SQL statements: the table of rules, the checks of a parse tree, what a file accepts."""
