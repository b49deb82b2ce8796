//! Whose word on an attempt does not count: namespaces that are not its backend's.

use std::{collections::BTreeSet, net::IpAddr};

use super::Pods;
use crate::evidence::{
    Row, Stranger,
    links::{Held, Peer},
};

impl Pods {
    /// Of these rows the namespaces that are known, and not the backend's: what was
    /// noted there is no word about the backend. What is not known (it has come or
    /// gone since the last search) is believed, for the numbers of the attempt's
    /// segments have matched.
    pub fn strangers(&self, rows: &[Row]) -> BTreeSet<Stranger> {
        let noted = rows.iter().filter(|row| row.netns != 0);
        // Where the attempt's own is not known, it is one of the port's.
        let backends = |row: &Row| -> BTreeSet<IpAddr> {
            let same = rows.iter().filter(|r| r.node_port == row.node_port);
            let of_port = same.filter_map(|r| r.backend);
            match row.backend {
                Some(backend) => BTreeSet::from([backend.ip()]),
                None => of_port.map(|backend| backend.ip()).collect(),
            }
        };
        noted
            .filter(|row| self.is_stranger(row.netns, &backends(row)))
            .map(|row| (row.netns, row.backend))
            .collect()
    }

    fn is_stranger(&self, netns: u32, backends: &BTreeSet<IpAddr>) -> bool {
        let Some(known) = self.known.get(&u64::from(netns)) else {
            return false;
        };
        let is_backend =
            |held: &Held| held.peer != Peer::Elsewhere && backends.contains(&held.address);
        // Its addresses may not have been there yet.
        !known.held.is_empty() && !known.held.iter().any(is_backend)
    }
}
