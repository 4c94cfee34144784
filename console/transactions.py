"""How the statements of a file are put into transactions; the plan says it, the reader of SQL does it."""

from __future__ import annotations

from enum import StrEnum


class Transactions(StrEnum):
    """Who says where a transaction begins and ends."""

    AS_WRITTEN = "as written"  # the file's BEGIN and COMMIT; every other statement is one of its own
    WHOLE_FILE = "whole file"  # one around all of it; what cannot run in one is an error
    WHOLE_OR_NONE = "whole file or none"  # as before, unless not one of its statements can run in one
