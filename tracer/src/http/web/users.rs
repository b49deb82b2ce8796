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
        // For a user who does not exist the work is the same.
        let hash = users.get(&user);
        let Some(compared) = hash.or_else(|| users.values().max_by_key(|hash| cost(hash))) else {
            return Verdict::Wrong;
        };
        let digest = self.digest([user.as_bytes(), compared.as_bytes(), &password]);
        if hash.is_some() && lock(&self.known).contains(&digest) {
            return Verdict::Right;
        }
        let Some(_place) = self.queue.take(client) else {
            return Verdict::Later;
        };
        match self
            .compare(compared.clone(), password, hash.is_some())
            .await
        {
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
    async fn compare(&self, hash: String, password: Vec<u8>, exists: bool) -> Option<bool> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        let (tell, told) = oneshot::channel();
        spawn_blocking(move || {
            let _turn = turn;
            let start = Instant::now();
            let right = bcrypt::verify(password, &hash).unwrap_or(false) && exists;
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
