//! Enums: names for numbers.

use anyhow::Result;

use super::{Btf, kind, word};

impl Btf {
    /// Values and names of `enum NAME`; `None` when there is none. Values beyond
    /// 32 bits keep their low half.
    ///
    /// # Errors
    /// When the BTF is damaged.
    pub fn enumerators(&self, name: &str) -> Result<Option<Vec<(u32, String)>>> {
        for (kind, len) in [(kind::ENUM, 8), (kind::ENUM64, 12)] {
            let Some(id) = self.find(kind, name)? else {
                continue;
            };
            let found = self.stripped(id)?;
            let one = |index| -> Result<(u32, String)> {
                let at = found.data + index * len;
                let name = self.name(word(&self.blob, at)?);
                let name = String::from_utf8_lossy(name).into_owned();
                Ok((word(&self.blob, at + 4)?, name))
            };
            return (0..found.len()).map(one).collect::<Result<_>>().map(Some);
        }
        Ok(None)
    }
}
