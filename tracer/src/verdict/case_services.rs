//! What Kubernetes and IPVS tell of a case: who held the backend's address then, and what the
//! Service had to send to.

use crate::{
    evidence::{Evidence, VirtualServer},
    services::{self, Tenancy},
};

use super::case::Case;

impl<'a> Case<'a> {
    /// When the first and the last of these attempts sent their SYN; anywhere in the
    /// window where that is not known.
    pub(super) fn span(&self) -> (u64, u64) {
        let Evidence { ended, window, .. } = self.evidence;
        let length = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        self.row
            .span
            .unwrap_or((ended.saturating_sub(length), *ended))
    }

    /// Who came last to hold the backend's address by the last SYN.
    pub(super) fn tenant(&self) -> Option<&'a Tenancy> {
        let ip = self.address()?.ip();
        self.evidence.names.holder_at(ip, self.span().1)
    }

    /// Another pod has come to hold the backend's address since.
    pub(super) fn is_passed_on(&self) -> bool {
        let of = |ip| self.evidence.names.tenants().of(ip).last();
        let now = self.address().and_then(|address| of(address.ip()));
        self.tenant() != now
    }

    /// The pod that held the backend's address then; `None` also if these attempts
    /// met more than one.
    pub(super) fn named_pod(&self) -> Option<&'a services::Pod> {
        let ip = self.address()?.ip();
        let (first, last) = self.span();
        let names = &self.evidence.names;
        let pod = names.pod_then(ip, last)?;
        let before = names.pod_then(ip, first);
        before.is_none_or(|before| before == pod).then_some(pod)
    }

    /// The port belongs to a Service that is known by name.
    pub(super) fn is_a_service(&self) -> bool {
        self.evidence.names.port(self.port()).is_some()
    }

    /// Kubernetes lists no ready endpoint of the port, now or when these SYNs were sent. False
    /// also where it says nothing, or these failures are older than its present list tells.
    pub(super) fn lacks_endpoints(&self) -> bool {
        const RECENT: u64 = 30_000_000_000;
        let recent = self.evidence.ended.saturating_sub(self.span().1) <= RECENT;
        let listed = self.evidence.names.endpoints(self.port());
        let none = listed.is_some_and(|listed| !listed.has_ready());
        (none && recent) || self.had_no_endpoint()
    }

    /// Kubernetes listed no ready endpoint of the port for some of the time in which
    /// these SYNs were sent, or shortly before: proxies follow a moment later.
    pub(super) fn had_no_endpoint(&self) -> bool {
        const LAG: u64 = 2_000_000_000;
        let (first, last) = self.span();
        let empty = &self.evidence.names.tenants().empty;
        let known = self.row.span.is_some();
        known && empty.between(self.port(), first.saturating_sub(LAG), last)
    }

    /// What IPVS has for the port at the address that was dialled; `None`: IPVS is not in
    /// use, or it has nothing there.
    pub(super) fn virtual_server(&self) -> Option<&'a VirtualServer> {
        let servers = self.evidence.virtual_servers.as_ref()?;
        let dialled = |server: &&VirtualServer| {
            server.address.port() == self.port()
                && self.row.dialled.is_none_or(|ip| ip == server.address.ip())
        };
        servers.iter().find(dialled)
    }

    /// kube-proxy does NAT by IPVS on this node.
    pub(super) fn is_ipvs(&self) -> bool {
        self.evidence.virtual_servers.is_some()
    }
}
