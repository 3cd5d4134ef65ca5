"""The dashboard's screens: the batch, the failures of one kind, and one specification."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Input, Static

from smallab.command_line.frame import Drawing, failed_heading, in_hand, several_hosts, shared_room
from smallab.command_line.looking import Seen
from smallab.command_line.table import Table
from smallab.reading.failures import FailedSpecification, FailureGroup
from smallab.reading.state import Details, Running

AIR = 16  # lines of a terminal from which on an empty one stands below the head


class Wanted(Message):
    """The details of a specification are wanted from now on; None: of none."""

    def __init__(self, id: str | None) -> None:
        super().__init__()
        self.id = id


class Shown(Screen[None]):
    """A screen that is filled anew whenever there was a look, or the terminal has another size.

    Parameters
    ----------
    drawing
        Makes the lines.
    seen
        What was seen before there was this screen.
    """

    AUTO_FOCUS = ""  # what is focused is said below
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", "Back", show=False)]
    DEFAULT_CSS = """
    Shown { overflow: hidden; }
    Shown #head { height: auto; }
    Shown #trouble { height: 1; color: $text-warning; display: none; }
    """

    def __init__(self, drawing: Drawing, seen: Seen | None = None) -> None:
        super().__init__()
        self.drawing = drawing
        self.seen = seen
        self.trouble = Static(id="trouble")
        self._is_composed = False

    def on_mount(self) -> None:
        """Show what is known."""
        self._is_composed = True
        self.refill()

    def fill(self, seen: Seen) -> None:
        """Show what was seen."""
        raise NotImplementedError

    def show(self, seen: Seen) -> None:
        """Show what was seen now."""
        self.seen = seen
        self.refill()

    def refill(self) -> None:
        """Show what was seen again."""
        if self.seen and self._is_composed and self.size.width:
            self.fill(self.seen)

    def on_resize(self) -> None:
        """Fill the new size."""
        self.refill()

    def tell(self, trouble: str) -> None:
        """Show why nothing new is seen; nothing where all is well."""
        if not self._is_composed:
            return
        self.trouble.update(self.drawing.line(self.size.width, trouble))
        if self.trouble.display != bool(trouble):
            self.trouble.display = bool(trouble)
            self.refill()

    def head(self, lines: Sequence[Text]) -> None:
        """Show what stands at the top."""
        self.query_one("#head", Static).update(Text("\n").join(lines))

    def action_back(self) -> None:
        """Go back to the screen before, if there is one."""
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()


class Section(Vertical):
    """A heading, and a table below it."""

    DEFAULT_CSS = """
    Section .heading { height: 1; text-style: bold; }
    Section:focus-within .heading { color: $text-accent; }
    Section Table { height: 1fr; }
    """

    def __init__(self, table: Table[Any]) -> None:
        super().__init__()
        self.table = table
        self.heading = Static(classes="heading")

    def compose(self) -> ComposeResult:
        """Yield what it consists of."""
        yield self.heading
        yield self.table

    def show(self, heading: Text, height: int) -> None:
        """Show it in so many lines, the heading among them; not at all where there is no room for one."""
        self.heading.update(heading)
        self.styles.height = height
        self.display = height > 0


class Searched(Shown):
    """A screen with tables, of which those rows are shown that have in them what is searched for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "search", "Search", key_display="/"),
        Binding("tab", "app.focus_next", "Other"),
    ]
    DEFAULT_CSS = """
    Searched #search { height: 1; border: none; padding: 0; display: none; }
    """

    def __init__(self, drawing: Drawing, seen: Seen | None, *tables: Table[Any]) -> None:
        super().__init__(drawing, seen)
        self.search = Input(placeholder="search: Enter keeps it, Esc ends it", id="search")
        self.sections = [Section(table) for table in tables]

    def compose(self) -> ComposeResult:
        """Yield what it consists of."""
        yield Static(id="head")
        yield self.trouble
        yield self.search
        yield from self.sections
        yield Footer()

    def action_search(self) -> None:
        """Ask for what to search."""
        self.search.display = True
        self.search.focus()
        self.refill()

    def action_back(self) -> None:
        """End the search; where there is none, leave the screen."""
        if not self.search.display:
            super().action_back()
            return
        self.search.value = ""
        self.search.display = False
        self.focus_a_table()
        self.refill()

    @on(Input.Changed)
    def _search_anew(self) -> None:
        self.refill()

    @on(Input.Submitted)
    def focus_a_table(self) -> None:
        """Let the keys scroll the first table that has something in it."""
        for section in self.sections:
            if section.table.rows:
                section.table.focus()
                return

    def keep_focus(self) -> None:
        """Let the keys scroll another table where theirs has nothing in it any more."""
        focused = self.focused
        if focused is not self.search and not (isinstance(focused, Table) and focused.rows):
            self.focus_a_table()

    def matches(self, *texts: str) -> bool:
        """Tell whether one of the texts has in it what is searched for."""
        wanted = self.search.value.casefold()
        return any(wanted in text.casefold() for text in texts)

    def found(self, group: FailureGroup) -> Sequence[FailedSpecification]:
        """Return the failures of a group that have in them what is searched for."""
        if not self.search.value:
            return group.members
        return [one for one in group.members if self.matches(one.label, one.why, one.id)]

    def heading(self, text: str) -> Text:
        """Return the heading of a table, which tells what is searched for."""
        searched = f" with {self.search.value!r}" if self.search.value else ""
        return self.drawing.line(self.size.width, f"  {text}{searched}")

    @property
    def lines_left(self) -> int:
        """How many lines the footer, the search and the trouble leave."""
        return self.size.height - 1 - self.search.display - self.trouble.display


class BatchScreen(Searched):
    """The batch: its figures, what runs, and why others failed."""

    def __init__(self, drawing: Drawing) -> None:
        running = partial(drawing.running, hosts=False, goes_on=True)
        self.running = Table[Running](running, lambda item: item.id, "running")
        self.failures = Table[FailureGroup](drawing.group, lambda group: group.key, "failures")
        super().__init__(drawing, None, self.running, self.failures)

    def on_mount(self) -> None:
        """Say that the first look has begun, for it may take a while."""
        if not self.seen:
            self.head([Text("looking at the batch", "dim")])

    def fill(self, seen: Seen) -> None:
        """Show what was seen."""
        view = seen.view
        running, groups = self._found(seen)
        lines = self.drawing.head(view, self.size.width, self.lines_left)
        lines += [Text()] * (self.size.height >= AIR)
        self.head(lines)
        rooms = shared_room(self.lines_left - len(lines), len(running), len(groups))
        headings = f"{in_hand(view)} ({len(running)})", failed_heading(groups)
        hosts = several_hosts(view.running)
        self.running.draw = partial(self.drawing.running, hosts=hosts, goes_on=bool(view.running))
        self.running.show_rows(running)
        self.failures.show_rows(groups)
        for section, heading, height in zip(self.sections, headings, rooms, strict=True):
            section.show(self.heading(heading), height)
        self.keep_focus()

    def _found(self, seen: Seen) -> tuple[Sequence[Running], Sequence[FailureGroup]]:
        """Return what runs, and the failures, that have in them what is searched for."""
        items = seen.view.running or seen.view.interrupted
        if not self.search.value:
            return items, seen.groups
        running = [item for item in items if self.matches(item.label, str(item.specification), item.id)]
        members = map(self.found, seen.groups)
        return running, [FailureGroup.of(found) for found in members if found]

    @on(Table.Opened, "#running")
    def _open_running(self, event: Table.Opened) -> None:
        self.app.push_screen(DetailsScreen(self.drawing, event.row.id))

    @on(Table.Opened, "#failures")
    def _open_group(self, event: Table.Opened) -> None:
        self.app.push_screen(GroupScreen(self.drawing, self.seen, event.row))


class GroupScreen(Searched):
    """The failures of one kind."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", "Back")]

    def __init__(self, drawing: Drawing, seen: Seen | None, group: FailureGroup) -> None:
        draw = partial(drawing.failed, with_message=True)
        self.members = Table[FailedSpecification](draw, lambda one: one.id, "members")
        self._group = group
        super().__init__(drawing, seen, self.members)

    def fill(self, seen: Seen) -> None:
        """Show what was seen."""
        members: Sequence[FailedSpecification] = ()
        for group in seen.groups:
            if group.key == self._group.key:
                self._group = group
                members = self.found(group)
        most = max(1, self.size.height // 3)
        lines = self.drawing.wrapped(self._group.why, self.size.width, most, "bold red")
        lines += [Text()] * (self.size.height >= AIR)
        self.head(lines)
        differ = self._group.message != self._group.members[0].message
        self.members.draw = partial(self.drawing.failed, with_message=differ)
        self.members.show_rows(members)
        (section,) = self.sections
        section.show(self.heading(f"Failed ({len(members)}, the latest first)"), self.lines_left - len(lines))
        self.keep_focus()

    @on(Table.Opened, "#members")
    def _open_member(self, event: Table.Opened) -> None:
        self.app.push_screen(DetailsScreen(self.drawing, event.row.id))


class DetailsScreen(Shown):
    """One specification: why it failed, its traceback, its log."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "back", "Back")]
    DEFAULT_CSS = """
    DetailsScreen VerticalScroll { scrollbar-size-vertical: 1; }
    DetailsScreen #details { height: auto; }
    """

    def __init__(self, drawing: Drawing, id: str) -> None:
        super().__init__(drawing)
        self._id = id
        self._details: Details | None = None
        self._is_over: bool | None = None  # it is not known yet

    def compose(self) -> ComposeResult:
        """Yield what it consists of."""
        yield self.trouble
        with VerticalScroll():
            yield Static(Text("reading", "dim"), id="details")
        yield Footer()

    def on_mount(self) -> None:
        """Ask for the details."""
        self.query_one(VerticalScroll).focus()
        self.post_message(Wanted(self._id))

    def on_unmount(self) -> None:
        """Ask for no more."""
        self.app.post_message(Wanted(None))

    def fill(self, seen: Seen) -> None:
        """Show what there is to read now, or what there was when it ran or had failed."""
        details = seen.details or self._details
        is_over = not seen.details
        if seen.opened != self._id or (details, is_over) == (self._details, self._is_over):
            return
        self._details, self._is_over = details, is_over
        text = Text("it has completed meanwhile, or waits to run again\n\n" if is_over else "", "yellow")
        if details:
            text.append(self.drawing.details(details))
        self.query_one("#details", Static).update(text)
