//! Asking the running daemon over its socket. What answers is not trusted:
//! size, time and form are bounded.

use std::{io, path::Path, time::Duration};

use bytes::BytesMut;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{Request, StatusCode, body::Incoming, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, task::JoinSet, time::timeout};

use crate::{
    exit::{Code, Exit},
    human,
    recorder::TopAsked,
    report::{Condition, Explanation, Line, Refusal, Top},
};

/// What an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Time until the answer's head, and for the whole of a finite answer.
    pub time: Duration,
    /// Bytes of a finite answer.
    pub size: usize,
    /// Bytes of one line.
    pub line: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(10),
            size: 16 * 1024 * 1024,
            line: 64 * 1024,
        }
    }
}

/// The daemon at the other end of a socket.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    path: &'a Path,
    limits: Limits,
}

impl<'a> Client<'a> {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(path: &'a Path, limits: Limits) -> Self {
        Self { path, limits }
    }

    /// Asks for what `GET /v1/explain` tells; `None`: no daemon runs.
    ///
    /// # Errors
    /// When the socket is not permitted, the daemon refuses, or its answer is
    /// none.
    pub async fn explain(
        &self,
        last: Duration,
        ports: &[u16],
    ) -> Result<Option<Explanation>, Exit> {
        let mut query = vec![format!("last={}ms", last.as_millis())];
        query.extend(ports.iter().map(|port| format!("port={port}")));
        self.finite("explain", &query).await
    }

    /// Asks whether the daemon is ready, likewise.
    ///
    /// # Errors
    /// As for [`Client::explain`].
    pub async fn condition(&self) -> Result<Option<Condition>, Exit> {
        self.finite("condition", &[]).await
    }

    /// Asks for what `GET /v1/top` tells, likewise.
    ///
    /// # Errors
    /// As for [`Client::explain`].
    pub async fn top(&self, asked: &TopAsked) -> Result<Option<Top>, Exit> {
        let mut query = vec![format!("last={}ms", asked.last.as_millis())];
        if !asked.history.is_zero() {
            query.push(format!("history={}ms", asked.history.as_millis()));
        }
        query.extend(asked.port.map(|port| format!("port={port}")));
        self.finite("top", &query).await
    }

    /// Asks for the failures that the daemon remembers: `GET /v1/events` with
    /// these parameters (`port=…`, `outcome=…`); `None`: no daemon runs.
    ///
    /// # Errors
    /// As for [`Client::explain`].
    pub async fn events(&self, query: &[String]) -> Result<Option<Vec<Line>>, Exit> {
        let asked = async {
            let Some(answer) = self.get("events", query).await? else {
                return Ok(None);
            };
            let body = self.whole(answer).await?;
            let lines = body.split_inclusive(|&byte| byte == b'\n');
            let lines: Result<Vec<Line>, Exit> = lines.map(|line| self.parse(line)).collect();
            lines.map(Some)
        };
        self.in_time(asked).await
    }

    /// Asks for failures as they happen, likewise.
    ///
    /// # Errors
    /// As for [`Client::explain`].
    pub async fn follow(&self, query: &[String]) -> Result<Option<Lines<'a>>, Exit> {
        let query = [&["follow=true".to_owned()], query].concat();
        let answer = self.in_time(self.get("events", &query)).await?;
        Ok(answer.map(|answer| Lines {
            client: *self,
            answer,
            read: BytesMut::new(),
        }))
    }

    /// Asks for one JSON object.
    async fn finite<T: DeserializeOwned>(
        &self,
        what: &str,
        query: &[String],
    ) -> Result<Option<T>, Exit> {
        let asked = async {
            match self.get(what, query).await? {
                Some(answer) => Ok(Some(self.parse(&self.whole(answer).await?)?)),
                None => Ok(None),
            }
        };
        self.in_time(asked).await
    }

    async fn in_time<T>(&self, asked: impl Future<Output = Result<T, Exit>>) -> Result<T, Exit> {
        let time = self.limits.time;
        timeout(time, asked).await.unwrap_or_else(|_| {
            let cause = format!("no answer within {}", human::duration(time.as_secs_f64()));
            Err(self.failed(cause).remedy("see the daemon's log"))
        })
    }

    /// Sends the request and reads the answer's head.
    async fn get(&self, what: &str, query: &[String]) -> Result<Option<Answer>, Exit> {
        let Some(stream) = self.connect().await? else {
            return Ok(None);
        };
        let garbled = |e: hyper::Error| self.rubbish(anyhow::Error::from(e));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(garbled)?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            // Its errors come out where the answer is read.
            let _ = connection.await;
        });
        let mark = if query.is_empty() { "" } else { "?" };
        let request = Request::get(format!("/v1/{what}{mark}{}", query.join("&")))
            .header(HOST, "localhost")
            .body(String::new());
        let request = request.map_err(|e| self.failed(e))?;
        let response = sender.send_request(request).await.map_err(garbled)?;
        let status = response.status();
        let answer = Answer {
            body: response.into_body(),
            _task: task,
        };
        if status == StatusCode::OK {
            Ok(Some(answer))
        } else {
            Err(self.refused(status, answer).await)
        }
    }

    async fn connect(&self) -> Result<Option<UnixStream>, Exit> {
        match UnixStream::connect(self.path).await {
            Ok(stream) => Ok(Some(stream)),
            Err(e) => self.no_connection(&e).map(|()| None),
        }
    }

    /// An error unless no daemon runs.
    fn no_connection(&self, e: &io::Error) -> Result<(), Exit> {
        match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(()),
            io::ErrorKind::PermissionDenied => {
                let cause = "permission denied: only root may ask the daemon";
                Err(Exit::unavailable(self.what(), cause).remedy("try again with sudo"))
            }
            _ => Err(self.failed(e)),
        }
    }

    async fn refused(&self, status: StatusCode, answer: Answer) -> Exit {
        let refusal = match self.whole(answer).await {
            Ok(body) => serde_json::from_slice(&body).ok(),
            Err(exit) => return exit,
        };
        let cause = match refusal {
            Some(Refusal { error }) => human::printable(&error).into_owned(),
            None => return self.rubbish(format!("HTTP status {}", status.as_u16())),
        };
        let code = match status {
            StatusCode::BAD_REQUEST => Code::Usage,
            _ => Code::Runtime,
        };
        Exit::new(code, self.what(), cause)
    }

    async fn whole(&self, answer: Answer) -> Result<Vec<u8>, Exit> {
        let Answer { body, _task } = answer;
        match Limited::new(body, self.limits.size).collect().await {
            Ok(body) => Ok(body.to_bytes().into()),
            Err(e) if e.is::<LengthLimitError>() => {
                Err(self.rubbish(format!("more than {} bytes", self.limits.size)))
            }
            Err(e) => Err(self.rubbish(anyhow::anyhow!(e))),
        }
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Exit> {
        serde_json::from_slice(bytes).map_err(|e| self.rubbish(e))
    }

    fn what(&self) -> String {
        format!("ask the daemon at {}", self.path.display())
    }

    fn failed(&self, cause: impl std::fmt::Display) -> Exit {
        Exit::runtime(self.what(), cause)
    }

    fn rubbish(&self, cause: impl std::fmt::Display) -> Exit {
        let cause = human::printable(&format!("{cause:#}")).into_owned();
        self.failed(format!("its answer cannot be read: {cause}"))
            .remedy("is it a tracer, and of this version (tracer --version)?")
    }
}

/// An answer's body, and the connection that it comes by.
#[derive(Debug)]
struct Answer {
    body: Incoming,
    _task: JoinSet<()>,
}

/// The lines of an answer, as they come.
#[derive(Debug)]
pub struct Lines<'a> {
    client: Client<'a>,
    answer: Answer,
    /// What has come after the last line that was handed out.
    read: BytesMut,
}

impl Lines<'_> {
    /// The next line; `None` when the daemon has ended the answer. Waits without
    /// bound, and may be given up while it waits.
    ///
    /// # Errors
    /// When a line is too long or none, or the connection breaks.
    pub async fn next(&mut self) -> Result<Option<Line>, Exit> {
        let client = self.client;
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                return client.parse(&self.read.split_to(end + 1)).map(Some);
            }
            if self.read.len() > client.limits.line {
                let cause = format!("a line of more than {} bytes", client.limits.line);
                return Err(client.rubbish(cause));
            }
            match self.answer.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.read.extend_from_slice(data);
                    }
                }
                Some(Err(e)) => return Err(client.rubbish(anyhow::Error::from(e))),
                None if self.read.is_empty() => return Ok(None),
                None => return Err(client.rubbish("its last line is cut short")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
