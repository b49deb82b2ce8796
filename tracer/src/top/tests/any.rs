//! Anything that a daemon may answer, at any size, after any keys.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{draw, keys, model::STEPS},
    scene::{model, top, ui},
};
use crate::{human, report::Top};

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>(), 0..100_u64]
}

fn key() -> impl Strategy<Value = KeyEvent> {
    use KeyCode::*;
    let codes = [
        Up, Down, Left, Right, PageUp, PageDown, Home, End, Enter, Esc, Backspace, Tab,
    ];
    let letters = "jkgGsSdw/?h q30x\u{1b}é".chars().map(Char);
    let all: Vec<KeyCode> = codes.into_iter().chain(letters).collect();
    (proptest::sample::select(all), any::<bool>()).prop_map(|(code, control)| {
        let control = if control && code == Char('q') {
            KeyModifiers::CONTROL
        } else {
            KeyModifiers::NONE
        };
        KeyEvent::new(code, control)
    })
}

/// Puts the numbers and texts wherever there is one.
fn odd(mut top: Top, numbers: &[u64], text: &str, float: f64) -> Top {
    let mut next = numbers.iter().copied().cycle();
    let mut next = || next.next().unwrap_or(0);
    (top.time, top.uptime_s, top.window_s) = (float, float, float);
    (top.flows, top.flows_capacity, top.run) = (next(), next(), next());
    (top.step, top.first_step) = (next(), next());
    top.history[0].step = top.step;
    for port in &mut top.ports {
        port.service = Some(text.to_owned());
        (port.recent.attempts, port.pending) = (next(), next());
        let maps = [
            &mut port.recent.outcomes,
            &mut port.recent.traffic,
            &mut port.open,
        ];
        maps.into_iter()
            .flat_map(|map| map.values_mut())
            .for_each(|count| *count = next());
        port.recent.retransmits.insert(text.to_owned(), next());
        if let Some(answer) = &mut port.recent.answer {
            answer.p99 = float;
        }
    }
    if let Some(detail) = &mut top.detail {
        detail.node_port = top.ports[0].node_port;
        (detail.clients.known, detail.clients.attempts) = (next(), next());
        detail.clients.addresses = next();
        for backend in &mut detail.backends {
            (backend.failed, backend.attempts) = (next(), Some(next()));
            backend.failures.insert(text.to_owned(), next());
        }
        for event in &mut detail.failures {
            (event.time, event.latency) = (float, float);
            event.outcome = text.to_owned();
            event.evidence = text.to_owned();
        }
    }
    top
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_answer_size_or_key_panics_or_reaches_the_terminal(
        width in 0..260_u16,
        height in 0..90_u16,
        numbers in proptest::collection::vec(number(), 1..40),
        text in any::<String>(),
        float in any::<f64>(),
        pressed in proptest::collection::vec(key(), 0..12),
        ascii in any::<bool>(),
        silent in any::<bool>(),
    ) {
        let (mut model, mut ui) = (model(), ui());
        model.take(odd(top(), &numbers, &text, float), STEPS);
        if silent {
            model.silent(float, text.clone());
        }
        ui.ascii = ascii;
        let area = Rect::new(0, 0, width, height);
        for key in pressed {
            let seen = draw::seen(area, &model, &ui);
            keys::press(&mut ui, key, &seen);
            let mut buffer = Buffer::empty(area);
            draw::render(&mut buffer, area, &model, &ui);
            for cell in &buffer.content {
                prop_assert_eq!(human::printable(cell.symbol()), cell.symbol());
            }
        }
    }
}
