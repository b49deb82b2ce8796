//! Who tries to connect, and whether at a steady rhythm.

use std::{collections::BTreeMap, net::IpAddr};

use super::rows;
use crate::{report::TopClient, snapshot::Arrival};

/// Clients that are listed.
const LISTED: usize = 20;
/// Attempts without which nothing is said of a rhythm.
const SAMPLES: usize = 6;
/// What the median deviation of the gaps may be, as a share of their median.
const STEADY: f64 = 0.1;

/// What is known of one address.
#[derive(Default)]
struct Client {
    /// When its SYNs came, nanoseconds.
    times: Vec<u64>,
    failed: u64,
}

/// The clients of some attempts.
#[derive(Default)]
pub(super) struct Clients(BTreeMap<IpAddr, Client>);

impl Clients {
    /// Notes attempts, each of which may be there twice.
    pub(super) fn arrived(&mut self, mut arrivals: Vec<Arrival>) {
        arrivals.sort_unstable_by_key(|a| (a.syn_at, a.client.0, a.client_port));
        arrivals.dedup();
        for arrival in arrivals {
            let address = rows::address(arrival.client, 0).ip();
            self.0
                .entry(address)
                .or_default()
                .times
                .push(arrival.syn_at);
        }
    }

    /// Notes a failed attempt.
    pub(super) fn failed(&mut self, address: IpAddr) {
        self.0.entry(address).or_default().failed += 1;
    }

    /// Attempts whose client is known.
    pub(super) fn attempts(&self) -> u64 {
        self.0
            .values()
            .map(|client| client.times.len() as u64)
            .sum()
    }

    /// How many addresses there are.
    pub(super) fn addresses(&self) -> u64 {
        self.0.len() as u64
    }

    /// Those with the most attempts.
    pub(super) fn top(&self) -> Vec<TopClient> {
        let mut all: Vec<TopClient> = self
            .0
            .iter()
            .map(|(address, client)| TopClient {
                address: *address,
                // One that is remembered by its failures alone has made them.
                attempts: (client.times.len() as u64).max(client.failed),
                failed: client.failed,
                every_s: rhythm(&client.times),
            })
            .collect();
        all.sort_by_key(|c| std::cmp::Reverse((c.attempts, c.failed)));
        all.truncate(LISTED);
        all
    }
}

/// The median gap in seconds between ascending times in nanoseconds, when half
/// of the gaps are within a tenth of it.
fn rhythm(times: &[u64]) -> Option<f64> {
    if times.len() < SAMPLES {
        return None;
    }
    let gaps = times.iter().zip(times.iter().skip(1));
    let gaps: Vec<f64> = gaps
        .map(|(a, b)| b.saturating_sub(*a) as f64 / 1e9)
        .collect();
    let gap = median(gaps.clone())?;
    let deviation = median(gaps.iter().map(|g| (g - gap).abs()).collect())?;
    (gap > 0.0 && deviation < STEADY * gap).then_some(gap)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use tracer_common::flow::Addr;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn arrival(last: u8, client_port: u16, syn_at: u64) -> Arrival {
        Arrival {
            client: Addr::v4([10, 0, 1, last]),
            client_port,
            syn_at,
        }
    }

    #[test]
    fn a_rhythm_needs_samples_and_steadiness() {
        let every = |gaps: &[u64]| {
            let ends = gaps.iter().scan(0, |at, gap| {
                *at += gap * SECOND / 10;
                Some(*at)
            });
            rhythm(&std::iter::once(0).chain(ends).collect::<Vec<u64>>())
        };
        assert_eq!(every(&[100, 101, 99, 100, 100]), Some(10.0));
        assert_eq!(every(&[100, 100, 100, 100]), None, "five attempts");
        // One tick was missed: the rhythm holds.
        assert_eq!(every(&[100, 100, 200, 100, 100, 100]), Some(10.0));
        assert_eq!(every(&[10, 200, 30, 170, 60, 90]), None);
        assert_eq!(every(&[0, 0, 0, 0, 0, 0]), None, "all at once");
    }

    #[test]
    fn an_attempt_that_two_tables_know_counts_once() {
        let mut clients = Clients::default();
        let twice = arrival(9, 4_711, 5);
        let reused = arrival(9, 4_711, 6);
        clients.arrived(vec![twice, arrival(8, 1, 4), reused, twice]);
        clients.failed("10.0.1.7".parse().unwrap());
        assert_eq!((clients.attempts(), clients.addresses()), (3, 3));
        let top = clients.top();
        let seen: Vec<(String, u64, u64)> = top
            .iter()
            .map(|c| (c.address.to_string(), c.attempts, c.failed))
            .collect();
        let expected = [("10.0.1.9", 2, 0), ("10.0.1.7", 1, 1), ("10.0.1.8", 1, 0)];
        assert_eq!(seen, expected.map(|(a, n, f)| (a.to_owned(), n, f)));
    }

    #[test]
    fn the_list_is_bounded() {
        let mut clients = Clients::default();
        clients.arrived((0..200).map(|i| arrival(i, 1, u64::from(i))).collect());
        assert_eq!((clients.top().len(), clients.addresses()), (LISTED, 200));
    }
}
