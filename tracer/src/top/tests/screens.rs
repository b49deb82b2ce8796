use std::path::Path;

use ratatui::{Terminal, backend::TestBackend, style::Modifier};

use crate::{report::PortRow, top::batch};

use super::{
    super::{
        columns::Column,
        draw,
        model::{Model, Origin, is_failure},
        table,
        ui::{self, Pane, Sort, Ui},
    },
    scene::{STEP, empty, event, model, top, ui},
};

fn screen(model: &Model, ui: &Ui, (width, height): (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(frame, model, ui)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content.chunks(usize::from(width));
    let lines = rows.map(|row| {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

fn assert_page(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/top/testdata");
    let path = folder.join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{name}:\n{text}\nexpected:\n{expected}");
    let safe = |c: char| c == '\n' || !c.is_control();
    assert!(text.chars().all(safe), "{name}:\n{text}");
}

#[test]
fn the_table_uses_the_width_there_is() {
    for size in [(80, 24), (120, 40), (200, 50), (40, 10)] {
        assert_page(
            &format!("table_{}x{}", size.0, size.1),
            &screen(&model(), &ui(), size),
        );
    }
}

#[test]
fn the_detail_says_why_who_and_where() {
    let mut ui = ui();
    (ui.pane, ui.selected) = (Pane::Detail, Some(30_102));
    for size in [(80, 24), (120, 40), (200, 50)] {
        assert_page(
            &format!("detail_{}x{}", size.0, size.1),
            &screen(&model(), &ui, size),
        );
    }
    ui.selected = Some(30_101);
    let other = screen(&model(), &ui, (80, 24));
    assert!(
        other.contains("Port 30101") && other.contains("Asking for more"),
        "{other}"
    );
}

#[test]
fn the_detail_says_where_health_checks_go() {
    let mut ui = ui();
    (ui.pane, ui.selected) = (Pane::Detail, Some(30_102));
    for (checked, told) in [
        (Some(30_101), "health check goes to port 30101 only"),
        (Some(30_102), "health check goes to this port"),
        (None, ""),
    ] {
        let mut model = model();
        model.explained.as_mut().unwrap().0.ports.push(PortRow {
            node_port: 30_102,
            health_check_port: checked,
            ..PortRow::default()
        });
        let text = screen(&model, &ui, (120, 40));
        assert_eq!(text.contains("health check"), checked.is_some(), "{text}");
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn help_names_every_key_and_column() {
    let mut ui = ui();
    ui.pane = Pane::Help;
    assert_page("help_100x32", &screen(&model(), &ui, (100, 32)));
}

#[test]
fn a_daemon_that_is_gone_is_said_and_its_numbers_are_not_live() {
    let mut gone = model();
    gone.silent(1_700_000_010.0, "nobody answers".to_owned());
    gone.silent(1_700_000_020.0, "nobody answers".to_owned());
    assert_page("silent_80x24", &screen(&gone, &ui(), (80, 24)));
    // It comes back as another run, whose counts begin anew.
    let mut back = top();
    (back.run, back.uptime_s, back.time) = (2, 3.0, 1_700_000_030.0);
    back.ports.truncate(1);
    back.ports[0].total.attempts = 1;
    back.step = STEP + 5;
    back.first_step = STEP + 5;
    gone.take(back, 2);
    let mut ui = ui();
    ui.totals = true;
    let text = screen(&gone, &ui, (80, 24));
    assert!(!text.contains("NO ANSWER"), "{text}");
    assert!(
        text.contains("started again at 22:13:47: counts begin there"),
        "{text}"
    );
    assert!(text.contains("TOTALS since 22:13:47"), "{text}");
    // Between both nothing is known; before, it stays known.
    let ended = gone.ended(Some(30_102), 8, is_failure);
    assert_eq!(ended[..5], [Some(2), Some(3), Some(0), None, None]);
}

#[test]
fn nothing_yet_nobody_yet_and_no_match_are_told_apart() {
    assert_page("asking_80x24", &screen(&empty(), &ui(), (80, 24)));
    let mut nobody = model();
    let mut top = top();
    top.ports.clear();
    nobody.take(top, 2);
    let text = screen(&nobody, &ui(), (80, 24));
    assert!(text.contains("Nobody has tried to connect"), "{text}");
    let mut ui = ui();
    ui.filter = "nonsense".to_owned();
    let text = screen(&model(), &ui, (80, 24));
    assert!(text.contains("No port matches the filter"), "{text}");
    let mut own = empty();
    own.origin = Origin::Own;
    own.take(super::scene::top(), 2);
    let text = screen(&own, &super::scene::ui(), (80, 24));
    assert!(
        text.contains("No daemon: watching by own programs since 22:11:23"),
        "{text}"
    );
}

#[test]
fn filters_and_orders() {
    let model = model();
    let ports = |filter: &str, sort: Sort| {
        let mut ui = ui();
        (ui.filter, ui.sort) = (filter.to_owned(), sort);
        let rows = ui::rows(&model, &ui);
        rows.iter()
            .map(|row| row.port.node_port)
            .collect::<Vec<_>>()
    };
    let failed = Sort::by(Column::Failed);
    assert_eq!(ports("", failed), [30_102, 30_113, 30_107, 30_110, 30_101]);
    assert_eq!(ports("", Sort::by(Column::Port))[0], 30_101);
    assert_eq!(ports("", Sort::by(Column::Attempts))[0], 30_110);
    assert_eq!(ports("FAILING 301", failed), [30_102, 30_113, 30_107]);
    for (filter, port) in [
        ("billing", 30_110),
        ("nothing_listens", 30_102),
        ("timed_out", 30_113),
    ] {
        assert_eq!(ports(filter, failed), [port], "{filter}");
    }
}

#[test]
fn columns_scroll_where_not_all_fit() {
    let mut ui = ui();
    let page = |ui: &Ui| screen(&model(), ui, (80, 24));
    assert!(!page(&ui).contains("CANCEL"));
    ui.skipped = 14;
    let text = page(&ui);
    assert!(
        text.contains("CANCEL") && text.contains("  PORT  SERVICE"),
        "{text}"
    );
    ui.skipped = usize::MAX;
    assert!(page(&ui).contains("UNKNOWN"));
}

#[test]
fn eighty_columns_tell_how_why_and_what_for_whatever_names_there_are() {
    let mut top = top();
    top.ports[1].service = Some("a-long-namespace/with-a-long-service:name".to_owned());
    let mut model = model();
    model.explained.as_mut().unwrap().0.verdicts[0].verdict =
        crate::verdict::Verdict::BackendUnreachable;
    model.take(top, 2);
    let text = screen(&model, &ui(), (80, 24));
    for heading in ["SERVICE", "TRY/S", "FAILED", "HOW", "WHY", "TRAFFIC"] {
        assert!(text.contains(heading), "{heading}:\n{text}");
    }
    assert!(text.contains("backend_unreachable unknown 100 %"), "{text}");
}

#[test]
fn plain_text_has_all_columns_and_totals() {
    let model = model();
    let mut ui = ui();
    assert_page("batch", &table::text(&ui::rows(&model, &ui), false));
    ui.totals = true;
    assert_page("batch_totals", &table::text(&ui::rows(&model, &ui), true));
}

#[test]
fn json_has_mark_and_verdict_as_the_screen() {
    let page = batch::page(&model(), &ui(), crate::cli::Output::Json).unwrap();
    let json: serde_json::Value = serde_json::from_str(&page).unwrap();
    let of = |port: u64| {
        let ports = json["ports"].as_array().unwrap();
        ports.iter().find(|p| p["node_port"] == port).unwrap()
    };
    assert_eq!(
        (of(30_102)["mark"].as_str(), of(30_113)["mark"].as_str()),
        (Some("!"), Some("?"))
    );
    assert_eq!(of(30_102)["verdict"], "nothing_listens");
    assert_eq!(of(30_102)["certainty"], "certain");
    assert_eq!(
        (&of(30_101)["mark"], of(30_101).get("verdict")),
        (&" ".into(), None)
    );
    assert_eq!(json["schema"], 1);
}

#[test]
fn without_colours_and_unicode_nothing_is_lost() {
    let mut ui = ui();
    (ui.colour, ui.ascii) = (false, true);
    let text = screen(&model(), &ui, (80, 24));
    assert!(text.is_ascii(), "{text}");
    assert_page("ascii_80x24", &text);
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal
        .draw(|frame| draw::draw(frame, &model(), &ui))
        .unwrap();
    let cells = &terminal.backend().buffer().content;
    assert!(
        cells
            .iter()
            .all(|cell| cell.fg == ratatui::style::Color::Reset)
    );
    // The cursor and the marks are characters, the bar is no colour.
    assert!(
        text.contains("!>30102") && text.contains("? 30113"),
        "{text}"
    );
    assert!(
        cells
            .iter()
            .any(|cell| cell.modifier.contains(Modifier::REVERSED))
    );
}

#[test]
fn strangers_cannot_drive_the_terminal() {
    let evil = "x\u{1b}[2J\r\n\u{202e}\u{9b}31m\u{7}";
    let mut top = top();
    top.ports[1].service = Some(evil.to_owned());
    top.lost.insert(evil.to_owned(), 1);
    top.ports[1].recent.retransmits.insert(evil.to_owned(), 1);
    let detail = top.detail.as_mut().unwrap();
    detail.failures = vec![event(evil, evil)];
    detail.backends[0].pod = Some(evil.to_owned());
    detail.backends[0].failures.insert(evil.to_owned(), 2);
    let mut model = model();
    model.node = evil.to_owned();
    model.explained.as_mut().unwrap().0.verdicts[0].evidence[0] = evil.to_owned();
    model.take(top, 2);
    let mut ui = ui();
    (ui.pane, ui.selected, ui.filter) = (Pane::Detail, Some(30_102), String::new());
    assert_page("control_characters", &screen(&model, &ui, (160, 50)));
    model.silent(1.0, evil.to_owned());
    let text = screen(&model, &ui, (160, 50));
    assert!(
        !text.contains('\u{1b}') && !text.contains('\u{202e}'),
        "{text}"
    );
    assert!(!table::text(&ui::rows(&model, &ui), false).contains('\u{1b}'));
}
