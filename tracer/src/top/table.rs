//! The table of ports, on the screen and as plain text.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    columns::{self, Column},
    draw::{self, span},
    layout::{self, Layout},
    look::{self, Look},
    model::{Model, is_failure},
    ui::{Row, Ui},
};

/// The rows with their columns.
pub(super) struct Table<'a> {
    model: &'a Model,
    ui: &'a Ui,
    pub(super) rows: Vec<Row<'a>>,
    cursor: usize,
    pub(super) layout: Layout,
}

/// Rows that fit beside the headings and the line of all ports.
pub(super) fn visible(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(2))
}

impl<'a> Table<'a> {
    pub(super) fn new(
        model: &'a Model,
        ui: &'a Ui,
        rows: Vec<Row<'a>>,
        cursor: usize,
        width: usize,
    ) -> Self {
        let layout = layout::layout(&rows, Some(width), ui.skipped, ui.totals);
        Self {
            model,
            ui,
            rows,
            cursor,
            layout,
        }
    }

    /// Draws as many rows as fit, the one with the cursor among them.
    pub(super) fn draw(&self, buffer: &mut Buffer, area: Rect, look: Look) {
        if area.height == 0 {
            return;
        }
        let mut lines = vec![self.headings(look)];
        if self.rows.is_empty() {
            lines.extend(self.nothing(look));
            return draw::lines(buffer, area, &lines);
        }
        let fit = visible(area).max(1);
        let from = (self.cursor + 1).saturating_sub(fit);
        let shown = self.rows.iter().enumerate().skip(from).take(fit);
        lines.extend(shown.map(|(at, row)| self.row(row, at == self.cursor, look)));
        lines.push(self.all(look));
        draw::lines(buffer, area, &lines);
    }

    fn nothing(&self, look: Look) -> Vec<Line<'static>> {
        let text = match &self.model.top {
            None => "",
            Some(top) if top.ports.is_empty() => {
                "  Nobody has tried to connect to any watched port of this node yet."
            }
            Some(_) => "  No port matches the filter; Esc clears it.",
        };
        vec![Line::raw(""), Line::styled(text, look.strong())]
    }

    fn headings(&self, look: Look) -> Line<'static> {
        let cells = self.layout.columns.iter().map(|(column, width)| {
            let sorted = *column == self.ui.sort.column;
            let mark = match (sorted, self.ui.sort.down) {
                (true, true) => "▼",
                (true, false) => "▲",
                (false, _) => "",
            };
            let mut text = column.heading(self.ui.totals).to_owned();
            if *column == Column::History {
                let seconds = (*width as u64).saturating_mul(crate::report::STEP_S);
                let about = crate::human::duration(seconds as f64);
                let long = format!("{text}, last {about}");
                if long.chars().count() <= *width {
                    text = long;
                }
            }
            (pad(&text, *width, *column), mark)
        });
        let mut line = String::new();
        for (text, mark) in cells {
            line.push_str(&text);
            // In the gap, which every column has.
            let rest = self.layout.gap.saturating_sub(mark.chars().count());
            line.push_str(mark);
            line.extend(std::iter::repeat_n(' ', rest));
        }
        Line::styled(line, look.bar())
    }

    fn row(&self, row: &Row<'_>, selected: bool, look: Look) -> Line<'static> {
        let cells = self.layout.columns.iter().map(|(column, width)| {
            let text = match column {
                Column::Port if selected => {
                    format!(
                        "{}>{}",
                        columns::mark(row),
                        crate::human::node_port(row.port.node_port)
                    )
                }
                Column::History => self.history(Some(row.port.node_port), *width),
                _ => column.text(row, self.ui.totals),
            };
            let style = self.style(*column, row, &text, look);
            span(pad(&text, *width, *column), style)
        });
        let line = self.join(cells);
        if selected {
            line.style(look.bar())
        } else {
            line
        }
    }

    /// The line of all ports.
    fn all(&self, look: Look) -> Line<'static> {
        let (counts, rate) = layout::all(&self.rows);
        let cells = self.layout.columns.iter().map(|(column, width)| {
            let text = match column {
                Column::Port => "  all".to_owned(),
                Column::Service => crate::human::counted(self.rows.len() as u64, "port"),
                Column::P50 | Column::P99 => String::new(),
                Column::History if self.ui.filter().is_empty() => self.history(None, *width),
                other => other.number(&counts, rate, self.ui.totals),
            };
            span(pad(&text, *width, *column), look.strong())
        });
        self.join(cells)
    }

    fn history(&self, port: Option<u16>, width: usize) -> String {
        look::spark(&self.model.ended(port, width, is_failure))
    }

    fn join(&self, cells: impl Iterator<Item = Span<'static>>) -> Line<'static> {
        let mut spans = Vec::new();
        for cell in cells {
            if !spans.is_empty() {
                spans.push(Span::raw(" ".repeat(self.layout.gap)));
            }
            spans.push(cell);
        }
        Line::from(spans)
    }

    fn style(&self, column: Column, row: &Row<'_>, text: &str, look: Look) -> Style {
        let stale = self.model.silence.is_some();
        let idle = row.counts.attempts == 0 && row.counts.open == 0;
        let problem = match columns::mark(row) {
            '!' => look.bad(),
            '?' => look.doubtful(),
            _ => Style::new(),
        };
        match column {
            _ if stale || idle || text == "." || text == "-" => look.faint(),
            Column::Port
            | Column::Failed
            | Column::Outcome(_)
            | Column::How
            | Column::Why
            | Column::History => problem,
            Column::Retransmits => look.doubtful(),
            _ => Style::new(),
        }
    }
}

/// Text in a column: cut where it is too long, words at the left, numbers at the
/// right.
pub(super) fn pad(text: &str, width: usize, column: Column) -> String {
    let length = text.chars().count();
    if length > width {
        let kept = text.chars().take(width.saturating_sub(1));
        return kept.chain(['…']).take(width).collect();
    }
    let blanks = " ".repeat(width - length);
    if column.left() {
        format!("{text}{blanks}")
    } else {
        format!("{blanks}{text}")
    }
}

/// The table as plain text, one line a row, as wide as it gets.
pub(super) fn text(rows: &[Row<'_>], totals: bool) -> String {
    let layout = layout::layout(rows, None, 0, totals);
    let (all, rate) = layout::all(rows);
    let line = |cell: &dyn Fn(Column) -> String| {
        let cells = layout.columns.iter();
        let cells = cells.map(|(column, width)| pad(&cell(*column), *width, *column));
        let cells: Vec<String> = cells.collect();
        cells.join(&" ".repeat(layout.gap)).trim_end().to_owned() + "\n"
    };
    let mut out = line(&|column| column.heading(totals).to_owned());
    for row in rows {
        out.push_str(&line(&|column| column.text(row, totals)));
    }
    out + &line(&|column| match column {
        Column::Port => "  all".to_owned(),
        Column::P50 | Column::P99 => String::new(),
        other => other.number(&all, rate, totals),
    })
}
