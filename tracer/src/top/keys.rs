//! What a key does: a pure function.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    columns::Column,
    ui::{Pane, Sort, Ui, WINDOWS},
};

/// The longest filter.
const LONGEST: usize = 200;

/// What is on the screen, as far as keys refer to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The rows, in order.
    pub(super) ports: Vec<u16>,
    /// The columns, in order.
    pub(super) columns: Vec<Column>,
    /// Rows that fit.
    pub(super) page: usize,
    /// Columns that do not fit.
    pub(super) more: usize,
    /// Lines of the pane, and how many of them fit.
    pub(super) pane: (usize, usize),
}

/// What the shell has to do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Draw.
    Draw,
    /// Ask anew, then draw.
    Ask,
    /// End.
    Quit,
    /// Stop until the user's shell lets it go on.
    Suspend,
}

/// Takes a key.
pub(super) fn press(ui: &mut Ui, key: KeyEvent, seen: &Seen) -> Then {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => return Then::Quit,
        KeyCode::Char('z') if control => return Then::Suspend,
        KeyCode::Char('l') if control => return Then::Draw,
        _ => {}
    }
    if ui.typing.is_some() {
        typed(ui, key.code, control);
        return Then::Draw;
    }
    if control && matches!(key.code, KeyCode::Char(_)) {
        return Then::Draw;
    }
    command(ui, key.code, seen)
}

/// A key while the filter is typed.
fn typed(ui: &mut Ui, code: KeyCode, control: bool) {
    let Some(text) = &mut ui.typing else { return };
    match code {
        KeyCode::Enter => {
            ui.filter = std::mem::take(text);
            ui.typing = None;
        }
        KeyCode::Esc => ui.typing = None,
        KeyCode::Backspace => {
            text.pop();
        }
        KeyCode::Char('u') if control => text.clear(),
        KeyCode::Char(c) if !control && !c.is_control() && text.len() < LONGEST => text.push(c),
        _ => {}
    }
}

fn command(ui: &mut Ui, code: KeyCode, seen: &Seen) -> Then {
    match code {
        KeyCode::Char('q') => return Then::Quit,
        KeyCode::Esc => return escape(ui),
        KeyCode::Char('/') => ui.typing = Some(ui.filter.clone()),
        KeyCode::Char('s') => ui.sort = Sort::by(next_column(ui.sort.column, &seen.columns)),
        KeyCode::Char('S') => ui.sort.down = !ui.sort.down,
        KeyCode::Char(' ') => {
            ui.paused = !ui.paused;
            return if ui.paused { Then::Draw } else { Then::Ask };
        }
        KeyCode::Char('d') => ui.totals = !ui.totals,
        KeyCode::Char('w') => {
            let longer = WINDOWS.iter().find(|window| **window > ui.window);
            ui.window = *longer.unwrap_or(&WINDOWS[0]);
            return Then::Ask;
        }
        KeyCode::Char('?' | 'h') => {
            show(
                ui,
                if ui.pane == Pane::Help {
                    Pane::None
                } else {
                    Pane::Help
                },
            );
        }
        KeyCode::Enter => {
            if ui.pane == Pane::Detail {
                show(ui, Pane::None);
            } else if let Some(port) = seen.ports.get(position(ui, seen)) {
                ui.selected = Some(*port);
                show(ui, Pane::Detail);
                return Then::Ask;
            }
        }
        KeyCode::Left => ui.skipped = ui.skipped.saturating_sub(1),
        KeyCode::Right if seen.more > 0 => ui.skipped += 1,
        other => return move_by(ui, other, seen),
    }
    Then::Draw
}

/// One step back: the pane, then the filter, then the program.
fn escape(ui: &mut Ui) -> Then {
    if ui.pane != Pane::None {
        show(ui, Pane::None);
    } else if !ui.filter.is_empty() {
        ui.filter.clear();
    } else {
        return Then::Quit;
    }
    Then::Draw
}

fn show(ui: &mut Ui, pane: Pane) {
    ui.pane = pane;
    ui.scrolled = 0;
}

fn next_column(now: Column, columns: &[Column]) -> Column {
    let names = |column: &Column| column.name() == now.name();
    let at = columns.iter().position(names).map_or(0, |at| at + 1);
    let round = columns.iter().cycle().skip(at).take(columns.len());
    let mut others = round.filter(|column| !names(column));
    others.next().copied().unwrap_or(now)
}

/// The row that the cursor is on.
pub(super) fn position(ui: &Ui, seen: &Seen) -> usize {
    let selected = seen.ports.iter().position(|p| Some(*p) == ui.selected);
    selected.unwrap_or(0)
}

/// Moves the cursor, or what the pane shows.
fn move_by(ui: &mut Ui, code: KeyCode, seen: &Seen) -> Then {
    let last = seen.ports.len().saturating_sub(1);
    let at = position(ui, seen);
    let page = seen.page.max(1);
    let (lines, fit) = seen.pane;
    if ui.pane != Pane::None {
        let end = lines.saturating_sub(fit);
        match code {
            KeyCode::PageDown => ui.scrolled = (ui.scrolled + fit.max(1)).min(end),
            KeyCode::PageUp => ui.scrolled = ui.scrolled.min(end).saturating_sub(fit.max(1)),
            KeyCode::Home => ui.scrolled = 0,
            KeyCode::End => ui.scrolled = end,
            KeyCode::Down | KeyCode::Char('j') if ui.pane == Pane::Help => {
                ui.scrolled = (ui.scrolled + 1).min(end);
            }
            KeyCode::Up | KeyCode::Char('k') if ui.pane == Pane::Help => {
                ui.scrolled = ui.scrolled.min(end).saturating_sub(1);
            }
            _ => return select(ui, code, seen, (at, last, 1)),
        }
        return Then::Draw;
    }
    select(ui, code, seen, (at, last, page))
}

fn select(
    ui: &mut Ui,
    code: KeyCode,
    seen: &Seen,
    (at, last, page): (usize, usize, usize),
) -> Then {
    let to = match code {
        KeyCode::Down | KeyCode::Char('j') => at + 1,
        KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
        KeyCode::PageDown => at + page,
        KeyCode::PageUp => at.saturating_sub(page),
        KeyCode::Home | KeyCode::Char('g') => 0,
        KeyCode::End | KeyCode::Char('G') => last,
        _ => return Then::Draw,
    };
    ui.selected = seen.ports.get(to.min(last)).copied();
    if ui.pane == Pane::Detail {
        ui.scrolled = 0;
        return Then::Ask;
    }
    Then::Draw
}

#[cfg(test)]
mod tests;
