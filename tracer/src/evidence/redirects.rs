//! Rules in the namespaces of backends that send their SYNs on, read where SYNs were
//! refused: conntrack there forgets such a connection with the RST.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Absent,
    rules::{Redirect, redirect},
};

/// Time allowed to reading the rules of one namespace.
const TIME: Duration = Duration::from_millis(150);
/// What was read is good for so long, and for so many times what reading took: this keeps
/// it below 2 % of a core for each namespace, whatever its owner writes.
const FRESH: Duration = Duration::from_secs(1);
const TIMES: u32 = 50;
/// Most backends that are remembered, some 500 bytes each.
const BACKENDS: usize = 256;

#[derive(Debug)]
struct Known {
    until: Instant,
    redirect: Option<Redirect>,
}

/// What was read last, by backend.
#[derive(Debug, Default)]
pub struct Redirects(HashMap<SocketAddr, Known>);

impl Redirects {
    /// The rule in the calling thread's namespace that sends on what comes in by
    /// `interface` for a backend.
    pub fn look(
        &mut self,
        backend: SocketAddr,
        interface: &str,
        deadline: Instant,
        absent: &mut Vec<Absent>,
    ) -> Option<Redirect> {
        let now = Instant::now();
        if let Some(known) = self.0.get(&backend).filter(|known| now < known.until) {
            return known.redirect.clone();
        }
        let found = redirect(backend, interface, deadline.min(now + TIME), absent);
        self.0.retain(|_, known| now < known.until);
        if self.0.len() < BACKENDS {
            let redirect = found.clone();
            let until = now + FRESH.max(now.elapsed() * TIMES);
            self.0.insert(backend, Known { until, redirect });
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_answers_are_kept_for_a_while() {
        let mut all = Redirects::default();
        let over = Instant::now();
        let look = |all: &mut Redirects, i: u32| {
            let backend = SocketAddr::from((i.to_be_bytes(), 9090));
            // Its time is over: as good as a namespace without rules.
            all.look(backend, "eth0", over, &mut Vec::new())
        };
        for i in 0..BACKENDS as u32 * 2 {
            assert_eq!(look(&mut all, i), None);
        }
        assert!(all.0.len() <= BACKENDS && !all.0.is_empty());
        let kept: Vec<Instant> = all.0.values().map(|known| known.until).collect();
        assert!(kept.iter().all(|until| *until >= over + FRESH));
    }
}
