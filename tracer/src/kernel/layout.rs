//! Kernel object and daemon must have been built from the same types: see
//! [`tracer_common::layout`].

use anyhow::{Context as _, ensure};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use tracer_common::layout::LAYOUT;

/// The global of the object that holds its layout.
const GLOBAL: &str = "TRACER_LAYOUT";

/// Refuses an object whose layout is not this daemon's.
///
/// # Errors
/// When it is another, or the object has none.
pub fn compare(object: &[u8]) -> anyhow::Result<()> {
    let layout = read(object).with_context(|| format!("read {GLOBAL} of the kernel object"))?;
    ensure!(
        layout == LAYOUT,
        "the kernel object has layout {layout:016x} and this daemon {LAYOUT:016x}: they are of \
         different builds; build tracer anew (`cargo clean -p tracer`)"
    );
    Ok(())
}

fn read(object: &[u8]) -> anyhow::Result<u64> {
    let at = place(object)?;
    let bytes = object.get(at..).and_then(<[u8]>::first_chunk);
    Ok(u64::from_le_bytes(*bytes.context("it is cut short")?))
}

/// Where in the object's bytes it stands.
fn place(object: &[u8]) -> anyhow::Result<usize> {
    let file = object::File::parse(object)?;
    let mut symbols = file.symbols();
    let global = symbols.find(|symbol| symbol.name() == Ok(GLOBAL));
    let global = global.context("there is no such global")?;
    let section = global.section_index().context("it has no section")?;
    let section = file.section_by_index(section)?;
    let (start, _) = section.file_range().context("it has no value")?;
    Ok(usize::try_from(
        start + global.address() - section.address(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::{super::object::OBJECT, *};

    #[test]
    fn an_object_of_another_layout_is_refused() {
        if OBJECT.is_empty() {
            return;
        }
        compare(OBJECT).unwrap();
        let mut other = OBJECT.to_vec();
        other[place(OBJECT).unwrap()] ^= 1;
        let error = compare(&other).unwrap_err().to_string();
        assert!(error.contains("of different builds"), "{error}");
        let cut = compare(&OBJECT[..64]).unwrap_err();
        assert!(
            format!("{cut:#}").starts_with("read TRACER_LAYOUT"),
            "{cut:#}"
        );
    }
}
