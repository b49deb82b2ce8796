//! Names of interfaces, kept as small as the kernel keeps them.

use std::fmt;

/// Most bytes of a name (linux/if.h: IFNAMSIZ, less the zero that ends it).
const LONGEST: usize = 15;

/// The name of an interface of the node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName {
    /// With zeros behind.
    bytes: [u8; LONGEST],
}

impl InterfaceName {
    /// `None`: no interface can be called so.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        bytes
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        let whole = !name.is_empty() && !name.contains('\0');
        whole.then_some(Self { bytes })
    }

    /// As people write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let all = std::str::from_utf8(&self.bytes).unwrap_or_default();
        all.trim_end_matches('\0')
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_went() {
        for name in ["e", "eth0.100", "enp0s31f6", "fifteen-letters"] {
            let known = InterfaceName::new(name).unwrap();
            assert_eq!((known.as_str(), known.to_string()), (name, name.to_owned()));
        }
        for name in ["", "sixteen-letters-", "a\0b"] {
            assert_eq!(InterfaceName::new(name), None);
        }
        assert!(InterfaceName::new("eth0") < InterfaceName::new("eth1"));
    }
}
