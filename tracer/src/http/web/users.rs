//! Basic authentication. A comparison by bcrypt takes a tenth of a second of CPU
//! and more, by design, and anybody may ask for one: there is one at a time, few
//! wait for it, and after a wrong password it pauses.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    str::FromStr as _,
    sync::{Arc, Mutex, PoisonError},
    thread::sleep,
    time::Instant,
};

use axum::http::{HeaderMap, header};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bcrypt::HashParts;
use ring::{hmac, rand::SystemRandom};
use tokio::{
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
};

use super::queue::Queue;

/// Times that a wrong password's comparison took are waited before the next: who
/// guesses gets a fifth of a CPU.
const PAUSE: u32 = 4;
/// Users whose passwords are remembered to be right.
const KNOWN: usize = 100;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    /// Not the password, no such user, or neither was given.
    Wrong,
    /// Too many guesses wait already.
    Later,
}

/// The users' passwords, and who has given the right one before.
pub(super) struct Users {
    turn: Arc<Semaphore>,
    queue: Queue,
    /// Digests of what was right, by a key that nobody knows: no password stays in
    /// memory. Wrong ones are not remembered: they would drive out the right.
    known: Arc<Mutex<HashSet<[u8; 32]>>>,
    key: hmac::Key,
}

impl Users {
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn new() -> Result<Self, String> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self {
            turn: Arc::new(Semaphore::new(1)),
            queue: Queue::default(),
            known: Arc::default(),
            key: key.map_err(|_| "no random numbers".to_owned())?,
        })
    }

    /// Judges a request by its headers, and who it comes from; `users` have the
    /// hashes of passwords.
    pub(super) async fn judge(
        &self,
        users: &BTreeMap<String, String>,
        headers: &HeaderMap,
        client: Option<IpAddr>,
    ) -> Verdict {
        let Some((user, password)) = credentials(headers) else {
            return Verdict::Wrong;
        };
        let Some(work) = Work::of(users, &user) else {
            return Verdict::Wrong;
        };
        let digest = self.digest([user.as_bytes(), work.shown().as_bytes(), &password]);
        if work.own.is_some() && lock(&self.known).contains(&digest) {
            return Verdict::Right;
        }
        let Some(_place) = self.queue.take(client) else {
            return Verdict::Later;
        };
        match self.compare(work, password).await {
            Some(true) => {
                self.remember(digest);
                Verdict::Right
            }
            Some(false) => Verdict::Wrong,
            None => Verdict::Later,
        }
    }

    /// Whether a user's password is right. The turn is over when the pause is, also
    /// of a client that has gone; who asks is told before.
    async fn compare(&self, work: Work, password: Vec<u8>) -> Option<bool> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        let (tell, told) = oneshot::channel();
        spawn_blocking(move || {
            let _turn = turn;
            let start = Instant::now();
            let right = work.compare(|hash| bcrypt::verify(&password, hash).unwrap_or(false));
            let took = start.elapsed();
            // The client may have gone.
            let _ = tell.send(right);
            if !right {
                sleep(took * PAUSE);
            }
        });
        told.await.ok()
    }

    fn digest(&self, parts: [&[u8]; 3]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            // Lengths, so that no part can pass for the beginning of the next.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn remember(&self, digest: [u8; 32]) {
        let mut known = lock(&self.known);
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(digest);
    }
}

/// What is compared for a user: one hash of each cost that the users' hashes have, among them the
/// user's own if there is one. That takes as long for each user, and for who is none.
#[derive(Debug)]
struct Work {
    hashes: Vec<String>,
    /// Which of them is the user's own.
    own: Option<usize>,
}

impl Work {
    /// `None`: there are no users.
    fn of(users: &BTreeMap<String, String>, user: &str) -> Option<Self> {
        let mut by_cost: BTreeMap<u32, &String> = BTreeMap::new();
        for hash in users.values() {
            by_cost.entry(cost(hash)).or_insert(hash);
        }
        let own = users.get(user);
        if let Some(own) = own {
            by_cost.insert(cost(own), own);
        }
        let hashes: Vec<String> = by_cost.into_values().cloned().collect();
        let own = own.and_then(|own| hashes.iter().position(|hash| hash == own));
        (!hashes.is_empty()).then_some(Self { hashes, own })
    }

    /// The user's own hash, or another.
    fn shown(&self) -> &str {
        self.hashes
            .get(self.own.unwrap_or_default())
            .map_or("", String::as_str)
    }

    /// Compares all of them; whether the user's own is right.
    fn compare(&self, is_right: impl Fn(&str) -> bool) -> bool {
        let mut right = false;
        for (at, hash) in self.hashes.iter().enumerate() {
            right |= is_right(hash) & (self.own == Some(at));
        }
        right
    }
}

fn lock(known: &Mutex<HashSet<[u8; 32]>>) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cost(hash: &str) -> u32 {
    HashParts::from_str(hash).map_or(0, |parts| parts.get_cost())
}

/// User and password of the header (RFC 7617).
fn credentials(headers: &HeaderMap) -> Option<(String, Vec<u8>)> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = given.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let colon = plain.iter().position(|&byte| byte == b':')?;
    let user = String::from_utf8(plain[..colon].to_vec()).ok()?;
    Some((user, plain[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Two of cost 4, one of cost 5, no two of one password.
    fn users() -> BTreeMap<String, String> {
        let hash = |user: &str, cost| (user.to_owned(), bcrypt::hash(user, cost).unwrap());
        [hash("alice", 4), hash("bob", 5), hash("carol", 4)].into()
    }

    #[test]
    fn the_work_is_the_same_whoever_asks() {
        let users = users();
        for user in ["alice", "bob", "carol", "mallory", ""] {
            for is_right in [false, true] {
                let compared = RefCell::default();
                Work::of(&users, user).unwrap().compare(|hash| {
                    Vec::push(&mut compared.borrow_mut(), cost(hash));
                    is_right
                });
                assert_eq!(compared.into_inner(), [4, 5], "{user}");
            }
        }
        assert!(Work::of(&BTreeMap::new(), "alice").is_none());
    }

    #[test]
    fn the_own_password_alone_is_right() {
        let users = users();
        for user in ["alice", "bob", "carol", "mallory"] {
            let work = Work::of(&users, user).unwrap();
            for password in ["alice", "bob", "carol", "mallory"] {
                let right = work.compare(|hash| bcrypt::verify(password, hash).unwrap());
                let is_own = user == password && user != "mallory";
                assert_eq!(right, is_own, "{user} {password}");
            }
        }
    }
}
