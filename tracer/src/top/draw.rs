//! The screen: a pure function of what is known and what was chosen.

use ratatui::{
    Frame,
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    detail, help,
    keys::{self, Seen},
    look::{self, Look},
    model::Model,
    table::{self, Table},
    title,
    ui::{self, Pane, Ui},
};

/// Rows from which on table and pane share the screen.
const SHARED: u16 = 34;

/// Where things stand.
struct Places {
    title: Rect,
    table: Rect,
    pane: Rect,
    footer: Rect,
}

impl Places {
    fn new(area: Rect, ui: &Ui, titles: u16, rows: usize) -> Self {
        let footer = u16::from(area.height > 3);
        let title = titles.min(area.height.saturating_sub(footer));
        let rest = area.height - title - footer;
        // Headings, rows, the line of all ports, and a gap.
        let wanted = u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(3);
        let table = match ui.pane {
            Pane::None => rest,
            _ if area.height < SHARED => 0,
            _ => wanted.min(rest / 3),
        };
        let at = |y: u16, height: u16| Rect {
            y: area.y + y,
            height,
            ..area
        };
        Self {
            title: at(0, title),
            table: at(title, table),
            pane: at(title + table, rest - table),
            footer: at(title + rest, footer),
        }
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, ui: &Ui) {
    let area = frame.area();
    render(frame.buffer_mut(), area, model, ui);
}

pub(super) fn render(buffer: &mut Buffer, area: Rect, model: &Model, ui: &Ui) {
    let look = Look { colour: ui.colour };
    let scene = Scene::new(area, model, ui);
    lines(buffer, scene.places.title, &scene.titles);
    scene.table.draw(buffer, scene.places.table, look);
    lines(buffer, scene.places.pane, scene.pane_shown(ui));
    let footer = title::footer(model, ui, scene.table.layout.more, area.width, look);
    lines(buffer, scene.places.footer, &[footer]);
    if ui.ascii {
        look::to_ascii(buffer);
    }
}

/// What keys refer to.
pub(super) fn seen(area: Rect, model: &Model, ui: &Ui) -> Seen {
    let scene = Scene::new(area, model, ui);
    let columns = scene.table.layout.columns.iter();
    Seen {
        ports: scene.table.rows.iter().map(|r| r.port.node_port).collect(),
        columns: columns.map(|(column, _)| *column).collect(),
        page: table::visible(scene.places.table),
        more: scene.table.layout.more,
        pane: (scene.pane.len(), usize::from(scene.places.pane.height)),
    }
}

/// Everything that is to be drawn.
struct Scene<'a> {
    places: Places,
    titles: Vec<Line<'static>>,
    table: Table<'a>,
    pane: Vec<Line<'static>>,
}

impl<'a> Scene<'a> {
    fn new(area: Rect, model: &'a Model, ui: &'a Ui) -> Self {
        let look = Look { colour: ui.colour };
        let rows = ui::rows(model, ui);
        let titles = title::lines(model, ui, area.width, look);
        let count = u16::try_from(titles.len()).unwrap_or(u16::MAX);
        let places = Places::new(area, ui, count, rows.len());
        let seen = Seen {
            ports: rows.iter().map(|row| row.port.node_port).collect(),
            ..Seen::default()
        };
        let cursor = keys::position(ui, &seen);
        let width = usize::from(area.width);
        let pane = match (ui.pane, rows.get(cursor)) {
            (Pane::None, _) => Vec::new(),
            (Pane::Help, _) => help::lines(width, look),
            (Pane::Detail, Some(row)) => detail::lines(model, ui, row, width, look),
            (Pane::Detail, None) => vec![Line::raw("No port is selected.")],
        };
        Self {
            places,
            titles,
            table: Table::new(model, ui, rows, cursor, width),
            pane,
        }
    }

    /// The part of the pane that fits; the last line says when there is more.
    fn pane_shown(&self, ui: &Ui) -> &[Line<'static>] {
        let fit = usize::from(self.places.pane.height);
        let from = ui.scrolled.min(self.pane.len().saturating_sub(fit));
        self.pane.get(from..).unwrap_or_default()
    }
}

/// Lines below each other, as far as they fit.
pub(super) fn lines(buffer: &mut Buffer, area: Rect, lines: &[Line<'_>]) {
    let area = area.intersection(buffer.area);
    for (row, line) in area.rows().zip(lines) {
        buffer.set_line(row.x, row.y, line, row.width);
        // The line's own style reaches to the end of its row.
        buffer.set_style(row, line.style);
    }
}

/// Text at the left and at the right of a row; the right gives way.
pub(super) fn sides(
    mut left: Vec<Span<'static>>,
    right: Vec<Span<'static>>,
    width: usize,
) -> Line<'static> {
    let taken = |spans: &[Span<'_>]| spans.iter().map(Span::width).sum::<usize>();
    let (from, to) = (taken(&left), taken(&right));
    if from + to + 2 <= width {
        left.push(Span::raw(" ".repeat(width - from - to)));
        left.extend(right);
    }
    Line::from(left)
}

/// One piece of text.
pub(super) fn span(text: impl Into<String>, style: Style) -> Span<'static> {
    Span::styled(text.into(), style)
}
