use std::time::Duration;

use super::*;

fn seen() -> Seen {
    Seen {
        ports: vec![30_101, 30_102, 30_103, 30_104, 30_105],
        columns: vec![Column::Port, Column::Attempts, Column::Failed, Column::P99],
        page: 2,
        more: 1,
        pane: (30, 10),
    }
}

fn ui() -> Ui {
    Ui::new(Duration::from_secs(60), Duration::from_secs(2))
}

fn keys(ui: &mut Ui, keys: &[KeyCode]) -> Then {
    let mut then = Then::Draw;
    for code in keys {
        then = press(ui, KeyEvent::from(*code), &seen());
    }
    then
}

fn control(ui: &mut Ui, c: char) -> Then {
    let key = KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
    press(ui, key, &seen())
}

const CHAR: fn(char) -> KeyCode = KeyCode::Char;

#[test]
fn the_cursor_moves_by_arrows_letters_and_pages_and_stops_at_the_ends() {
    for (codes, port) in [
        (vec![KeyCode::Down, CHAR('j')], 30_103),
        (vec![KeyCode::PageDown, KeyCode::Up], 30_102),
        (vec![KeyCode::End, KeyCode::Down], 30_105),
        (vec![CHAR('G'), CHAR('k')], 30_104),
        (vec![KeyCode::End, KeyCode::PageUp, KeyCode::Home], 30_101),
        (vec![CHAR('k')], 30_101),
    ] {
        let mut ui = ui();
        assert_eq!(keys(&mut ui, &codes), Then::Draw);
        assert_eq!(ui.selected, Some(port), "{codes:?}");
    }
    let mut empty = ui();
    press(&mut empty, KeyEvent::from(KeyCode::Down), &Seen::default());
    assert_eq!(empty.selected, None);
}

#[test]
fn the_filter_is_typed_taken_and_given_up() {
    let mut ui = ui();
    keys(
        &mut ui,
        &[CHAR('/'), CHAR('q'), CHAR('d'), KeyCode::Backspace],
    );
    assert_eq!((ui.filter(), ui.filter.as_str()), ("q", ""));
    keys(&mut ui, &[KeyCode::Enter]);
    assert_eq!((ui.filter.as_str(), &ui.typing), ("q", &None));
    keys(&mut ui, &[CHAR('/'), CHAR('x'), KeyCode::Esc]);
    assert_eq!(ui.filter(), "q");
    keys(&mut ui, &[CHAR('/')]);
    control(&mut ui, 'u');
    assert_eq!(ui.filter(), "");
    // A key that is a command elsewhere is a letter here; Ctrl-C is not.
    assert_eq!(control(&mut ui, 'c'), Then::Quit);
}

#[test]
fn escape_goes_one_step_back() {
    let mut ui = ui();
    ui.filter = "x".to_owned();
    assert_eq!(keys(&mut ui, &[KeyCode::Enter]), Then::Ask);
    assert_eq!((ui.pane, ui.selected), (Pane::Detail, Some(30_101)));
    assert_eq!(keys(&mut ui, &[KeyCode::Esc]), Then::Draw);
    assert_eq!((ui.pane, ui.filter.as_str()), (Pane::None, "x"));
    assert_eq!(keys(&mut ui, &[KeyCode::Esc]), Then::Draw);
    assert_eq!(ui.filter, "");
    assert_eq!(keys(&mut ui, &[KeyCode::Esc]), Then::Quit);
    assert_eq!(keys(&mut ui, &[CHAR('q')]), Then::Quit);
}

#[test]
fn sorting_goes_through_the_columns_on_the_screen() {
    let mut ui = ui();
    let mut order = Vec::new();
    for _ in 0..5 {
        keys(&mut ui, &[CHAR('s')]);
        order.push((ui.sort.column, ui.sort.down));
    }
    let expected = [
        (Column::P99, true),
        (Column::Port, false),
        (Column::Attempts, true),
        (Column::Failed, true),
        (Column::P99, true),
    ];
    assert_eq!(order, expected);
    keys(&mut ui, &[CHAR('S')]);
    assert!(!ui.sort.down);
}

#[test]
fn pause_totals_window_and_columns() {
    let mut ui = ui();
    assert_eq!(keys(&mut ui, &[CHAR(' ')]), Then::Draw);
    assert!(ui.paused);
    assert_eq!(keys(&mut ui, &[CHAR(' ')]), Then::Ask);
    keys(&mut ui, &[CHAR('d')]);
    assert!(ui.totals && !ui.paused);
    let windows: Vec<u64> = (0..4)
        .map(|_| {
            assert_eq!(keys(&mut ui, &[CHAR('w')]), Then::Ask);
            ui.window.as_secs()
        })
        .collect();
    assert_eq!(windows, [300, 900, 10, 60]);
    keys(&mut ui, &[KeyCode::Right, KeyCode::Right, KeyCode::Left]);
    assert_eq!(ui.skipped, 1);
    assert_eq!(control(&mut ui, 'z'), Then::Suspend);
}

#[test]
fn panes_scroll_and_the_detail_follows_the_cursor() {
    let mut ui = ui();
    keys(
        &mut ui,
        &[CHAR('?'), CHAR('j'), KeyCode::PageDown, KeyCode::PageDown],
    );
    assert_eq!((ui.pane, ui.scrolled), (Pane::Help, 20));
    keys(&mut ui, &[CHAR('?')]);
    assert_eq!((ui.pane, ui.scrolled), (Pane::None, 0));
    keys(&mut ui, &[KeyCode::Enter, KeyCode::PageDown]);
    assert_eq!(ui.scrolled, 10);
    assert_eq!(keys(&mut ui, &[CHAR('j')]), Then::Ask);
    assert_eq!((ui.selected, ui.scrolled), (Some(30_102), 0));
    keys(&mut ui, &[KeyCode::Enter]);
    assert_eq!(ui.pane, Pane::None);
}
