//! The loop of the screen: keys, answers, time and signals.

use std::{
    io,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossterm::event::{Event, EventStream, KeyEventKind};
use futures_util::StreamExt as _;
use ratatui::layout::Rect;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{
    ask::Asker,
    draw,
    keys::{self, Then},
    model::Model,
    signals::Signals,
    terminal::Screen,
    ui::{Pane, Ui},
};
use crate::{
    exit::Exit,
    recorder::TopAsked,
    report::{Explanation, STEP_S, Top},
};

/// Time between two explanations: each looks at the whole system.
const EXPLAIN: Duration = Duration::from_secs(10);
/// Time between two attempts to reach a daemon that is gone, at most.
const AGAIN: Duration = Duration::from_secs(1);

type Answer = (Result<Top, Exit>, u64);

/// What is on its way.
struct Shell {
    asker: Asker,
    model: Model,
    ui: Ui,
    /// Refreshes that are left; `None`: without end.
    left: Option<u64>,
    asked: JoinSet<Answer>,
    explaining: JoinSet<(Result<Explanation, Exit>, Duration)>,
    /// When the last answer came.
    answered: Instant,
    /// When the last explanation was asked for, and for which window.
    explained: Option<(Instant, Duration)>,
    /// Something else was wanted while an answer was on its way.
    again: bool,
}

/// Shows the screen until the user, a signal or the count ends it.
///
/// # Errors
/// When there is no terminal, or it cannot be written.
pub(super) async fn run(
    asker: Asker,
    model: Model,
    ui: Ui,
    count: Option<u64>,
    signals: &mut Signals,
) -> Result<(), Exit> {
    let mut screen = Screen::take().map_err(|e| Exit::runtime("take the terminal", e))?;
    let shell = Shell {
        asker,
        model,
        ui,
        left: count,
        asked: JoinSet::new(),
        explaining: JoinSet::new(),
        answered: Instant::now(),
        explained: None,
        again: false,
    };
    let ended = shell.go(&mut screen, signals).await;
    drop(screen);
    match ended {
        // The terminal is gone, and with it whoever would read this.
        Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe) => Ok(()),
        Err(e) if e.raw_os_error() == Some(nix::libc::EIO) => Ok(()),
        ended => ended.map_err(|e| Exit::runtime("draw", e)),
    }
}

impl Shell {
    async fn go(mut self, screen: &mut Screen, signals: &mut Signals) -> io::Result<()> {
        let mut events = EventStream::new();
        let mut tick = interval(self.ui.delay);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut retry = interval(AGAIN);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.draw(screen)?;
        while self.left != Some(0) {
            let silent = self.model.silence.is_some();
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => match self.on(event?, screen)? {
                        Then::Quit => return Ok(()),
                        Then::Suspend => screen.suspend()?,
                        Then::Ask => self.ask(),
                        Then::Draw => {}
                    },
                    None => return Ok(()),
                },
                _ = tick.tick(), if !self.ui.paused => self.ask(),
                _ = retry.tick(), if silent && !self.ui.paused => self.ask(),
                Some(answer) = self.asked.join_next() => self.take(answer.map_err(io::Error::other)?),
                Some(told) = self.explaining.join_next() => {
                    self.learn(told.map_err(io::Error::other)?);
                }
                () = signals.end() => return Ok(()),
            }
            self.draw(screen)?;
        }
        Ok(())
    }

    fn draw(&self, screen: &mut Screen) -> io::Result<()> {
        let drawn = screen
            .terminal
            .draw(|frame| draw::draw(frame, &self.model, &self.ui));
        drawn.map(|_| ())
    }

    fn on(&mut self, event: Event, screen: &mut Screen) -> io::Result<Then> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                let size = screen.terminal.size()?;
                let area = Rect::new(0, 0, size.width, size.height);
                let seen = draw::seen(area, &self.model, &self.ui);
                let redraw = key.code == crossterm::event::KeyCode::Char('l')
                    && key
                        .modifiers
                        .contains(crossterm::event::KeyModifiers::CONTROL);
                if redraw {
                    screen.terminal.clear()?;
                }
                Ok(keys::press(&mut self.ui, key, &seen))
            }
            _ => Ok(Then::Draw),
        }
    }

    /// Asks, one question at a time.
    fn ask(&mut self) {
        if !self.asked.is_empty() {
            self.again = true;
            return;
        }
        let steps = self.model.wanted(self.answered.elapsed().as_secs_f64());
        let asked = TopAsked {
            last: self.ui.window,
            history: Duration::from_secs(steps * STEP_S),
            port: (self.ui.pane == Pane::Detail)
                .then_some(self.ui.selected)
                .flatten(),
        };
        let answer = self.asker.clone().top(asked);
        self.asked.spawn(async move { (answer.await, steps) });
        self.explain();
    }

    fn explain(&mut self) {
        let window = self.ui.window;
        let due = self
            .explained
            .is_none_or(|(at, of)| at.elapsed() >= EXPLAIN || of != window);
        if due && self.explaining.is_empty() && self.model.silence.is_none() {
            self.explained = Some((Instant::now(), window));
            let told = self.asker.clone().explain(window);
            self.explaining.spawn(async move { (told.await, window) });
        }
    }

    fn take(&mut self, (answer, steps): Answer) {
        match answer {
            // What was on its way when the user paused is not shown.
            Ok(_) if self.ui.paused && self.model.top.is_some() => {}
            Ok(top) => {
                self.model.take(top, steps);
                self.answered = Instant::now();
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
            Err(exit) => self.model.silent(now(), exit.to_string()),
        }
        if std::mem::take(&mut self.again) && !self.ui.paused {
            self.ask();
        }
    }

    fn learn(&mut self, (told, window): (Result<Explanation, Exit>, Duration)) {
        if let Ok(explanation) = told
            && window == self.ui.window
            && !self.ui.paused
        {
            self.model.explained = Some((explanation, now()));
        }
    }
}

/// Seconds since the Unix epoch.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
