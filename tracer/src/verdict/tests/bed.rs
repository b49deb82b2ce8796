//! Evidence, made step by step.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tracer_common::{
    counters::{Cell, Tally as _},
    failure::{Failure, Reply, seen},
};

use crate::counted::Counted;
use crate::evidence::{
    Backend, Clients, Conntrack, Evidence, Holder, InterfaceName, Listener, Namespace, Place, Pod,
    Route, Row, Served,
    rules::{Action, Family, Matches, Owner, Position, RuleName, RuleSets, Stop, Tool, Traced},
};

/// The port, unless said otherwise.
pub const PORT: u16 = 30102;

/// The node's address that was dialled, and who dialled it.
pub const NODE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 3, 17));
pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 66, 1, 6));

/// Connections of another client that were established at the port and backend.
pub fn served(backend: Option<SocketAddr>) -> Served {
    Served {
        node_port: PORT,
        client: Some([10, 66, 1, 5].into()),
        dialled: NODE,
        interface: None,
        backend,
        count: 20,
    }
}

/// A rule that takes the SYNs, surely.
pub fn stop(owner: Owner, action: Action) -> Stop {
    Stop {
        rule: RuleName {
            family: Family::Ipv4,
            tool: Tool::IptablesNft,
            table: "raw".to_owned(),
            chain: "PREROUTING".to_owned(),
            position: Position::Number(1),
            comment: (owner == Owner::KubeProxy)
                .then(|| "thrift/users:thrift has no local endpoints".to_owned()),
            text: "-s 10.66.1.6/32".to_owned(),
            owner,
        },
        action,
        before_dnat: true,
        matches: Matches::Yes,
        packets: Some(12),
        rise: Some(3),
    }
}

/// The first backend.
pub fn pod() -> SocketAddr {
    backend(2)
}

/// A backend by the last part of its address.
pub fn backend(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 244, 1, last], 9090))
}

/// Three failures of this kind.
pub fn row(failure: Failure) -> Row {
    Row {
        dialled: Some(NODE),
        count: 3,
        ..Row::new(PORT, failure, Reply::None)
    }
}

/// Three attempts without an answer.
pub fn silent() -> Row {
    row(Failure::TimedOut)
}

/// Three RSTs.
pub fn refused(reply: Reply) -> Row {
    row(Failure::Refused).reply(reply, 0)
}

/// Three ICMP messages.
pub fn icmp(code: u8) -> Row {
    row(Failure::Unreachable).reply(Reply::Icmp, code)
}

/// Steps of making a row.
pub trait Make {
    fn reply(self, reply: Reply, code: u8) -> Row;
    fn to(self, backend: SocketAddr) -> Row;
    fn port(self, port: u16) -> Row;
    fn count(self, count: u64) -> Row;
    /// All of this client.
    fn from(self, client: IpAddr) -> Row;
    /// They came in by this interface.
    fn by(self, interface: &str) -> Row;
    /// These connections were established in its midst.
    fn amid(self, served: Served) -> Row;
    fn seen(self, bits: u16) -> Row;
    /// The kernel dropped its SYN.
    fn syn(self, reason: &str, location: &str) -> Row;
    /// The kernel dropped another segment of it; empty: not known.
    fn drop(self, bits: u16, reason: &str, location: &str) -> Row;
    /// The kernel's stack sent the RST.
    fn reset(self, bits: u16, reason: &str) -> Row;
}

fn known(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}

impl Make for Row {
    fn reply(self, reply: Reply, code: u8) -> Row {
        Row {
            reply,
            code,
            ..self
        }
    }

    fn to(self, backend: SocketAddr) -> Row {
        Row {
            backend: Some(backend),
            ..self
        }
    }

    fn port(self, node_port: u16) -> Row {
        Row { node_port, ..self }
    }

    fn count(self, count: u64) -> Row {
        Row { count, ..self }
    }

    fn from(self, client: IpAddr) -> Row {
        let sources = vec![(client, self.count)];
        Row { sources, ..self }
    }

    fn by(self, interface: &str) -> Row {
        let interface = InterfaceName::new(interface);
        Row { interface, ..self }
    }

    fn amid(self, served: Served) -> Row {
        let amid = vec![served];
        Row { amid, ..self }
    }

    fn seen(self, bits: u16) -> Row {
        Row {
            seen: self.seen | bits,
            ..self
        }
    }

    fn syn(self, reason: &str, location: &str) -> Row {
        self.drop(seen::DROPPED_SYN, reason, location)
    }

    fn drop(self, bits: u16, reason: &str, location: &str) -> Row {
        Row {
            reason: known(reason),
            location: known(location),
            ..self.seen(bits)
        }
    }

    fn reset(self, bits: u16, reason: &str) -> Row {
        Row {
            reset_reason: known(reason),
            ..self.seen(bits)
        }
    }
}

/// Evidence of a minute in which the port had 40 attempts.
#[derive(Clone, Debug)]
pub struct Bed(pub Evidence);

/// With these rows.
pub fn bed(rows: impl IntoIterator<Item = Row>) -> Bed {
    let evidence = Evidence {
        window: Duration::from_secs(60),
        rows: rows.into_iter().collect(),
        conntrack: Some(Conntrack {
            count: 100,
            max: 262_144,
            ..Conntrack::default()
        }),
        ..Evidence::default()
    };
    Bed(evidence).attempts(40)
}

impl Bed {
    /// So many attempts at the port.
    pub fn attempts(mut self, attempts: u64) -> Self {
        let mut counters = Counted::default();
        counters.add(Cell::ATTEMPTS, attempts.cast_signed());
        self.0.ports = vec![(PORT, counters)];
        self
    }

    /// A change to the port's counters.
    pub fn count(mut self, cell: Cell, by: i64) -> Self {
        for (_, counters) in &mut self.0.ports {
            counters.add(cell, by);
        }
        self
    }

    fn place(mut self, address: SocketAddr, attempts: u64, place: Place) -> Self {
        self.0.backends.push(Backend {
            node_port: PORT,
            address,
            attempts,
            passive_opens: attempts,
            place,
            route: Some(Route::Unicast {
                dev: "cbr0".to_owned(),
                via: None,
            }),
            neighbour: Some("REACHABLE".to_owned()),
            gone_at: None,
        });
        self
    }

    /// The first backend is a healthy pod on this node with 40 attempts.
    pub fn here(self) -> Self {
        self.with(|_| {})
    }

    /// The same with a change to it.
    pub fn with(self, change: impl FnOnce(&mut Pod)) -> Self {
        self.another(2, 40, change)
    }

    /// Another pod on this node.
    pub fn another(self, last: u8, attempts: u64, change: impl FnOnce(&mut Pod)) -> Self {
        let mut pod = Pod {
            listener: Some(Listener {
                queue: 0,
                limit: 128,
                drops: 3,
            }),
            listens_on: vec![9090],
            ..Pod::default()
        };
        change(&mut pod);
        self.place(backend(last), attempts, Place::Here(Box::new(pod)))
    }

    /// The first backend is on another node.
    pub fn beyond(self) -> Self {
        self.place(pod(), 40, Place::Beyond)
    }

    /// The last backend's sockets completed so many handshakes.
    pub fn opens(mut self, opens: u64) -> Self {
        if let Some(last) = self.0.backends.last_mut() {
            last.passive_opens = opens;
        }
        self
    }

    /// Its counters rose so.
    pub fn counters(self, namespace: Namespace) -> Self {
        self.with(|pod| pod.namespace = namespace)
    }

    /// The node has this route to the last backend.
    pub fn route(mut self, route: Route) -> Self {
        if let Some(last) = self.0.backends.last_mut() {
            last.route = Some(route.clone());
        }
        self
    }

    /// Its neighbour entry is in this state.
    pub fn neighbour(mut self, state: &str) -> Self {
        if let Some(last) = self.0.backends.last_mut() {
            last.neighbour = known(state);
        }
        self
    }

    /// So many failed attempts are remembered, from so many addresses.
    pub fn clients(mut self, attempts: u64, addresses: u64) -> Self {
        let node_port = PORT;
        self.0.clients.push(Clients {
            node_port,
            attempts,
            addresses,
        });
        self
    }

    /// The rule sets were read in full, and these rules may have stopped the SYNs.
    pub fn rules(self, stops: impl IntoIterator<Item = Stop>) -> Self {
        self.rules_for(None, stops)
    }

    /// The same of what comes in by an interface alone.
    pub fn rules_for(
        mut self,
        by: Option<InterfaceName>,
        stops: impl IntoIterator<Item = Stop>,
    ) -> Self {
        let traced = Traced {
            stops: stops.into_iter().collect(),
            backends: vec![pod()],
            complete: true,
            complete_before_dnat: true,
        };
        self.0.rules = Arc::new(RuleSets::answering(traced, by));
        for row in &mut self.0.rows {
            row.sources = vec![(CLIENT, row.count)];
        }
        self
    }

    /// conntrack's counters.
    pub fn conntrack(mut self, conntrack: Option<Conntrack>) -> Self {
        self.0.conntrack = conntrack;
        self
    }

    /// The node's counters.
    pub fn node(mut self, node: Namespace) -> Self {
        self.0.node = node;
        self
    }

    /// A process of the node listens on the port.
    pub fn holder(mut self, not_accepted: u32, close_wait: u32, process: Option<&str>) -> Self {
        self.0.holders.push(Holder {
            node_port: PORT,
            listener: Listener {
                queue: not_accepted,
                limit: 128,
                drops: 0,
            },
            not_accepted,
            accepted: 0,
            close_wait,
            process: process.map(str::to_owned),
        });
        self
    }
}
