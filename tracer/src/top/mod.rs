//! `tracer top`: what happens now, port by port.

mod ask;
mod batch;
mod columns;
mod detail;
mod draw;
mod help;
mod keys;
mod layout;
mod lines;
mod look;
mod model;
mod screen;
mod signals;
mod table;
mod terminal;
mod title;
mod ui;

use std::{io::IsTerminal as _, sync::Arc};

use crate::{
    api::client::{Client, Limits},
    cli::{Output, Top},
    config::Config,
    exit::Exit,
    explain,
    recorder::TopAsked,
    snapshot::Source,
};
use ask::Asker;
pub(crate) use columns::Column;
use model::{Model, Origin};
use signals::Signals;
use ui::{Sort, Ui};

/// Shows the daemon's numbers, or those of programs of its own, until it is told
/// to end.
///
/// # Errors
/// When the daemon cannot be asked at first, or without one: when `load` fails;
/// when there is no terminal, or nothing can be written.
pub fn run<L>(args: &Top, config: &Config, load: L) -> Result<(), Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit> + Send + 'static,
{
    explain::finish(top(args, config, load))
}

/// Whether it draws: there is a terminal that can be drawn on, and nothing else
/// is asked for.
#[must_use]
pub fn draws(args: &Top) -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    !args.batch && args.output == Output::Text && std::io::stdout().is_terminal() && !dumb
}

async fn top<L>(args: &Top, config: &Config, load: L) -> Result<(), Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit> + Send + 'static,
{
    let mut signals = Signals::listen()?;
    let Some((asker, origin)) = asker(args, config, load, &mut signals).await? else {
        return Ok(());
    };
    let model = Model::new(explain::node(), origin);
    let ui = chosen(args);
    if draws(args) {
        return screen::run(asker, model, ui, args.count, &mut signals).await;
    }
    let wanted = batch::Wanted {
        output: args.output,
        // Who redirects without a word about it wants one answer.
        count: args.count.or((!args.batch).then_some(1)),
    };
    batch::run(asker, model, &ui, &wanted, &mut signals).await
}

/// The daemon if one answers, else programs of our own; `None`: a signal came
/// while they were loaded.
async fn asker<L>(
    args: &Top,
    config: &Config,
    load: L,
    signals: &mut Signals,
) -> Result<Option<(Asker, Origin)>, Exit>
where
    L: FnOnce(&Config) -> Result<Arc<dyn Source>, Exit> + Send + 'static,
{
    if let Some(path) = config.socket.path() {
        let shown = path.display().to_string();
        let asked = TopAsked {
            last: args.last,
            history: std::time::Duration::ZERO,
            port: None,
        };
        let client = Client::new(path, Limits::default());
        if client.top(&asked).await?.is_some() {
            return Ok(Some((
                Asker::Daemon(path.to_owned()),
                Origin::Daemon(shown),
            )));
        }
        anstream::eprintln!("tracer: no daemon answers at {shown}; watching instead");
    }
    let recorder = tokio::select! {
        recorder = explain::start(config, load) => recorder?,
        () = signals.end() => return Ok(None),
    };
    Ok(Some((Asker::Own(recorder), Origin::Own)))
}

fn chosen(args: &Top) -> Ui {
    let mut ui = Ui::new(args.last, args.delay);
    ui.sort = Sort::by(args.sort);
    ui.sort.down ^= args.reverse;
    ui.filter.clone_from(&args.filter);
    ui.totals = args.totals;
    ui.colour = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
    ui.ascii = !terminal::shows_unicode(|name| std::env::var(name).ok());
    ui
}

#[cfg(test)]
mod tests;
