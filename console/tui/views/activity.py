"""Screen 5: other sessions and the applications' figures."""

from __future__ import annotations

from rich.text import Text

from console.journal.state import Session
from console.tui.draw import activity
from console.tui.facts import Facts
from console.tui.views.base import Size, View


class ActivityView(View):
    """Screen 5: other sessions and the applications' figures."""

    name = "activity"
    title = "Activity"
    filterable = True

    def count(self, facts: Facts) -> int:
        return len(activity.ranked(facts.state, self.words))

    def chosen(self, facts: Facts) -> Session | None:
        """The session under the cursor; None when there is none."""
        items = activity.ranked(facts.state, self.words)
        return items[min(self.cursor, len(items) - 1)] if items else None

    def draw(self, facts: Facts, size: Size) -> list[Text]:
        return activity.screen(facts, activity.ranked(facts.state, self.words), self.cursor, size)
