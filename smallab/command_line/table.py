"""A list that scrolls, with a cursor: of any length, for only what is seen of it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

Row = TypeVar("Row")


class Table(ScrollView, Generic[Row], can_focus=True):
    """Shows rows, a line each; Enter, or a click on the row where the cursor is, opens one.

    Parameters
    ----------
    draw
        Makes a row's line, so many columns wide.
    key
        Tells a row from others when the rows are shown anew: the cursor stays with its row.
    id
        The widget's.
    """

    DEFAULT_CSS = """
    Table { scrollbar-size-vertical: 1; overflow-x: hidden; }
    Table > .table--cursor { background: $primary; color: $text; text-style: bold; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"table--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,b", "move_page(-1)", "Page up", show=False),
        Binding("pagedown,space", "move_page(1)", "Page down", show=False),
        Binding("home,g", "move_to(0)", "First", show=False),
        Binding("end,G", "move_to(-1)", "Last", show=False),
        Binding("enter", "open", "Open"),
    ]

    class Opened(Message):
        """Somebody wants to see more of a row."""

        def __init__(self, table: Table[Any], row: Any) -> None:
            super().__init__()
            self.table = table
            self.row = row

        @property
        def control(self) -> Table[Any]:
            """The table, for ``@on``."""
            return self.table

    def __init__(self, draw: Callable[[Row, int], Text], key: Callable[[Row], object], id: str) -> None:
        super().__init__(id=id)
        self.draw = draw
        self.rows: Sequence[Row] = ()
        self.cursor = 0
        self._key = key
        self._followed = False  # only a cursor that somebody has moved stays with its row, and not on the first line

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Show these rows instead of those so far."""
        before = self.cursor
        if self._followed and before < len(self.rows):
            self.cursor = self._place(self._key(self.rows[before]), rows)
        self.cursor = max(0, min(self.cursor, len(rows) - 1))
        self.rows = rows
        self.virtual_size = Size(0, len(rows))
        if self._followed:
            self.scroll_to(y=self.scroll_offset.y + self.cursor - before, animate=False)
        self.refresh()

    def _place(self, key: object, rows: Sequence[Row]) -> int:
        """Return where the row of a key is now, or where it was if it has gone."""
        if self.cursor < len(rows) and self._key(rows[self.cursor]) == key:
            return self.cursor
        return next((place for place, row in enumerate(rows) if self._key(row) == key), self.cursor)

    def render_line(self, y: int) -> Strip:
        """Return what is seen in one line."""
        width = self.scrollable_content_region.width
        place = y + self.scroll_offset.y
        if place >= len(self.rows):
            return Strip.blank(width, self.rich_style)
        text = self.draw(self.rows[place], width)
        style = self.rich_style
        if place == self.cursor and self.has_focus:
            style = self.get_component_rich_style("table--cursor")
            text = Text(text.plain)  # its colours are not to be read on the cursor's
        segments = Segment.apply_style(text.render(self.app.console), style)
        return Strip(segments).adjust_cell_length(width, style)

    # Keys and the mouse.

    def action_move(self, rows: int) -> None:
        """Move the cursor by so many rows."""
        self._move_cursor(self.cursor + rows)

    def action_move_page(self, pages: int) -> None:
        """Move the cursor by so many pages."""
        self._move_cursor(self.cursor + pages * max(1, self.size.height - 1))

    def action_move_to(self, row: int) -> None:
        """Move the cursor to a row; -1 is the last one."""
        self._move_cursor(row if row >= 0 else len(self.rows) - 1)

    def action_open(self) -> None:
        """Open the row where the cursor is."""
        if self.rows:
            self.post_message(self.Opened(self, self.rows[self.cursor]))

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the row that was clicked, or open the row if the cursor is there."""
        offset = event.get_content_offset(self)
        row = None if offset is None else offset.y + self.scroll_offset.y
        if row is None or row >= len(self.rows):
            return
        if row == self.cursor and self._followed:
            self.action_open()
        self._move_cursor(row)

    def on_resize(self) -> None:
        """Keep the cursor in sight."""
        self._scroll_to_cursor()

    def _move_cursor(self, row: int) -> None:
        self.cursor = max(0, min(row, len(self.rows) - 1))
        self._followed = True
        self._scroll_to_cursor()
        self.refresh()

    def _scroll_to_cursor(self) -> None:
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if not top <= self.cursor < top + height:
            self.scroll_to(y=self.cursor if self.cursor < top else self.cursor - height + 1, animate=False)
