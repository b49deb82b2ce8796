//! Which of the node's namespaces an address belongs to.

use crate::evidence::links::Peer;

/// Which namespace holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    One(u64),
    Several,
    None,
}

/// A namespace whose links lead elsewhere belongs to another node that happens
/// to run on the same kernel, or to anybody.
pub(super) fn choose(holders: Option<&Vec<(Peer, u64)>>) -> Holds {
    let here = || {
        holders
            .into_iter()
            .flatten()
            .filter(|(p, _)| *p != Peer::Elsewhere)
    };
    let Some((best, inode)) = here().max().copied() else {
        return Holds::None;
    };
    let others = here().any(|(peer, other)| *peer == best && *other != inode);
    if others {
        Holds::Several
    } else {
        Holds::One(inode)
    }
}
