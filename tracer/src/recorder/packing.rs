//! Numbers as a row of bytes: seven bits a byte, the lowest first, and the top
//! bit set in all but the last (LEB128). Most changes are small.

use tracer_common::failure::FailureKey;

#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn put(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(super) fn length(&mut self, length: usize) {
        self.put(length as u64);
    }

    /// All but `slot`, `backend`, `address` and `interface`.
    pub(super) fn key(&mut self, key: &FailureKey) {
        self.put(u64::from(key.location));
        self.put(u64::from(key.reason));
        self.put(u64::from(key.reset_reason));
        self.put(u64::from(key.seen));
        self.0.extend([key.failure, key.reply, key.code]);
        self.put(u64::from(key.netns));
    }
}

impl From<Writer> for Box<[u8]> {
    fn from(writer: Writer) -> Self {
        writer.0.into()
    }
}

/// Reads what a [`Writer`] wrote; `None` at the end, or when a number does not
/// fit.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn take(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.take()?).ok()
    }

    pub(super) fn key(&mut self) -> Option<FailureKey> {
        Some(FailureKey {
            location: self.number()?,
            reason: self.number()?,
            reset_reason: self.number()?,
            seen: self.number()?,
            failure: self.byte()?,
            reply: self.byte()?,
            code: self.byte()?,
            netns: self.number()?,
            ..FailureKey::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(values: Vec<u64>) {
            let mut writer = Writer::default();
            for value in &values {
                writer.put(*value);
            }
            let bytes: Box<[u8]> = writer.into();
            let mut reader = Reader::new(&bytes);
            for value in values {
                prop_assert_eq!(reader.take(), Some(value));
            }
            prop_assert_eq!(reader.take(), None);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.take().is_some() && reader.key().is_some() {}
        }
    }
}
