//! What the kernel's numbers mean: reasons of drops and of RSTs by its own type
//! information, places of drops by its own symbols. Both differ from kernel to
//! kernel, so that nothing but the running one can tell.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Seek as _},
};

use crate::hooks::{btf::Btf, kernel_types};

const SYMBOLS: &str = "/proc/kallsyms";
const DROP_PREFIX: &str = "SKB_DROP_REASON_";
const RESET_PREFIX: &str = "SK_RST_REASON_";
/// No function is larger.
const FUNCTION_MAX: u32 = 64 * 1024;
/// Places that are remembered: a kernel has some hundred calls of `kfree_skb`.
const PLACES: usize = 1024;
/// High half of the addresses of kernel text on x86-64.
const TEXT: u64 = 0xffff_ffff;

/// The running kernel's names.
#[derive(Debug)]
pub struct Names {
    drop_reasons: BTreeMap<u16, String>,
    reset_reasons: BTreeMap<u16, String>,
    /// Opened at the start: the kernel decides then whether it shows addresses.
    symbols: Result<File, String>,
    places: BTreeMap<u32, Option<String>>,
}

impl Names {
    /// Asks the running kernel. What it does not tell is absent, see
    /// [`Names::location_absent`].
    pub fn read() -> Self {
        let types = kernel_types().ok();
        let names = |name, prefix| {
            let types = types.as_ref();
            types.map_or_else(BTreeMap::new, |types| reasons(types, name, prefix))
        };
        Self {
            drop_reasons: names("skb_drop_reason", DROP_PREFIX),
            reset_reasons: names("sk_rst_reason", RESET_PREFIX),
            symbols: open_symbols(),
            places: BTreeMap::new(),
        }
    }

    /// Name of an `enum skb_drop_reason` without its prefix (`NETFILTER_DROP`).
    pub fn drop_reason(&self, reason: u16) -> Option<&str> {
        self.drop_reasons.get(&reason).map(String::as_str)
    }

    /// Name of an `enum sk_rst_reason` without its prefix (`NO_SOCKET`).
    pub fn reset_reason(&self, reason: u16) -> Option<&str> {
        self.reset_reasons.get(&reason).map(String::as_str)
    }

    /// Name of the function that holds the text address with this low half.
    pub fn location(&mut self, low: u32) -> Option<String> {
        self.locate(&[low]);
        self.places.get(&low).cloned().flatten()
    }

    /// Finds many at once: each call that has something to find reads all of
    /// the kernel's symbols (50 ms).
    pub fn locate(&mut self, lows: &[u32]) {
        if self.places.len() + lows.len() > PLACES {
            self.places.clear();
        }
        let mut wanted: BTreeMap<u32, Option<Symbol>> = lows
            .iter()
            .filter(|low| **low != 0 && !self.places.contains_key(low))
            .take(PLACES)
            .map(|low| (*low, None))
            .collect();
        let Ok(file) = &mut self.symbols else { return };
        if wanted.is_empty() {
            return;
        }
        let found = file
            .rewind()
            .and_then(|()| search(BufReader::new(file), &mut wanted));
        if found.is_ok() {
            let named = |symbol: Option<Symbol>| symbol.map(|symbol| symbol.name);
            self.places
                .extend(wanted.into_iter().map(|(low, symbol)| (low, named(symbol))));
        }
    }

    /// Why no location has a name, and what would help.
    pub fn location_absent(&self) -> Option<String> {
        self.symbols.as_ref().err().cloned()
    }
}

fn reasons(types: &Btf, name: &str, prefix: &str) -> BTreeMap<u16, String> {
    let all = types.enumerators(name).ok().flatten().unwrap_or_default();
    all.into_iter()
        .filter_map(|(value, name)| {
            // 0 says that no reason is given.
            let name = name.strip_prefix(prefix).filter(|_| value != 0)?;
            Some((u16::try_from(value).ok()?, name.to_owned()))
        })
        .collect()
}

/// The symbols, if they come with addresses.
fn open_symbols() -> Result<File, String> {
    let unreadable = |error: io::Error| format!("read {SYMBOLS}: {error}");
    let file = File::open(SYMBOLS).map_err(unreadable)?;
    if shows_addresses(BufReader::new(&file)).map_err(unreadable)? {
        return Ok(file);
    }
    Err(format!(
        "{SYMBOLS} shows no addresses: give CAP_SYSLOG, with the sysctl kernel.kptr_restrict below 2"
    ))
}

fn shows_addresses(symbols: impl BufRead) -> io::Result<bool> {
    for line in symbols.lines() {
        if let Some((address, _)) = text_symbol(&line?) {
            return Ok(address != 0);
        }
    }
    Ok(false)
}

/// A function near a wanted place.
#[derive(Debug)]
struct Symbol {
    low: u32,
    name: String,
}

/// Finds the last function that begins at or before each place.
fn search(mut symbols: impl BufRead, wanted: &mut BTreeMap<u32, Option<Symbol>>) -> io::Result<()> {
    let mut line = String::new();
    while symbols.read_line(&mut line)? != 0 {
        if let Some((address, name)) = text_symbol(&line)
            && address >> 32 == TEXT
        {
            let low = address as u32;
            for (_, best) in wanted.range_mut(low..=low.saturating_add(FUNCTION_MAX)) {
                if best.as_ref().is_none_or(|best| best.low < low) {
                    let name = plain(name).to_owned();
                    *best = Some(Symbol { low, name });
                }
            }
        }
        line.clear();
    }
    Ok(())
}

/// Address and name of a line such as `ffffffff81000000 T _text`, with the name
/// of a module behind it; `None` for data and for the padding before functions.
fn text_symbol(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_ascii_whitespace();
    let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
    if !matches!(kind, "t" | "T" | "w" | "W") || name.starts_with("__pfx_") {
        return None;
    }
    Some((u64::from_str_radix(address, 16).ok()?, name))
}

/// Without what the compiler appends (`.cold`, `.isra.0`, `.constprop.0`, …).
fn plain(name: &str) -> &str {
    name.split('.')
        .find(|part| !part.is_empty())
        .unwrap_or(name)
}

#[cfg(test)]
mod tests;
