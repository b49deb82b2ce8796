//! A Kubernetes API that serves one Service and its EndpointSlice, and tells of each
//! change as it comes.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testbed::{Netns, cleanup::ScratchDir};

const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8001);
const LOOK: Duration = Duration::from_millis(5);
const LIMIT: Duration = Duration::from_secs(30);

/// A pod as the EndpointSlice lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub address: IpAddr,
    pub node: &'static str,
    pub ready: bool,
    pub terminating: bool,
}

impl Listed {
    fn json(&self) -> Value {
        json!({
            "addresses": [self.address.to_string()],
            "conditions": {
                "ready": self.ready, "serving": self.ready, "terminating": self.terminating,
            },
            "nodeName": self.node,
            "targetRef": {"kind": "Pod", "namespace": "thrift", "name": self.name},
        })
    }
}

#[derive(Default)]
struct State {
    port: u16,
    version: u64,
    slice: Value,
    /// The EndpointSlice after each change, with its version.
    news: Vec<(u64, Value)>,
}

impl State {
    fn service(&self) -> Value {
        json!({
            "metadata": {
                "name": "users", "namespace": "thrift", "uid": "s", "resourceVersion": "5",
            },
            "spec": {
                "type": "NodePort",
                "ports": [
                    {"name": "thrift", "protocol": "TCP", "port": 9090, "nodePort": self.port},
                ],
            },
        })
    }
}

/// The API; it ends when this is dropped.
pub struct Api {
    state: Arc<Mutex<State>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    dir: ScratchDir,
}

impl Api {
    /// Serves on the node, for a Service with this node port.
    pub fn start(node: &Netns, port: u16) -> Result<Self> {
        let listener = node.enter(|| TcpListener::bind(ADDRESS))??;
        listener.set_nonblocking(true)?;
        let state = State {
            port,
            version: 10,
            ..State::default()
        };
        let mut api = Self {
            state: Arc::new(Mutex::new(state)),
            end: Arc::default(),
            thread: None,
            dir: ScratchDir::new()?,
        };
        api.list(&[]);
        let (state, end) = (Arc::clone(&api.state), Arc::clone(&api.end));
        api.thread = Some(std::thread::spawn(move || serve(&listener, &state, &end)));
        Ok(api)
    }

    /// The EndpointSlice has these endpoints from now on.
    pub fn list(&self, endpoints: &[Listed]) {
        let mut state = locked(&self.state);
        state.version += 1;
        let version = state.version;
        state.slice = json!({
            "metadata": {
                "name": "users-x", "namespace": "thrift", "uid": "e",
                "resourceVersion": version.to_string(),
                "labels": {"kubernetes.io/service-name": "users"},
            },
            "addressType": "IPv4",
            "ports": [{"name": "thrift", "port": 9090, "protocol": "TCP"}],
            "endpoints": endpoints.iter().map(Listed::json).collect::<Vec<_>>(),
        });
        let slice = state.slice.clone();
        state.news.push((version, slice));
    }

    /// The file by which it is reached.
    pub fn kubeconfig(&self) -> Result<String> {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             users: [{{name: u, user: {{}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'http://{ADDRESS}'}}}}]\n"
        );
        let path = self.dir.write("kubeconfig", &text)?;
        Ok(path.to_str().context("path")?.to_owned())
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(listener: &TcpListener, state: &Arc<Mutex<State>>, end: &Arc<AtomicBool>) {
    while !end.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let (state, end) = (Arc::clone(state), Arc::clone(end));
                std::thread::spawn(move || answer(stream, &state, &end).is_ok());
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOOK),
            Err(_) => return,
        }
    }
}

/// Answers one request: a list, or a watch.
fn answer(mut stream: TcpStream, state: &Mutex<State>, end: &AtomicBool) -> Result<()> {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().context("no request")??;
    while !lines.next().context("no end of headers")??.is_empty() {}
    let services = request.contains("/services");
    if !request.contains("watch=") {
        let state = locked(state);
        let item = if services {
            state.service()
        } else {
            state.slice.clone()
        };
        let version = state.version.to_string();
        let list = json!({
            "kind": "List", "metadata": {"resourceVersion": version}, "items": [item],
        });
        let list = list.to_string();
        let length = list.len();
        write!(stream, "{HEAD}\r\ncontent-length: {length}\r\n\r\n{list}")?;
        return Ok(());
    }
    write!(stream, "{HEAD}\r\n\r\n")?;
    let from = request.split(['?', '&', ' ']);
    let mut seen: u64 = from
        .filter_map(|part| part.strip_prefix("resourceVersion="))
        .find_map(|version| version.parse().ok())
        .unwrap_or(0);
    while !end.load(Ordering::Relaxed) {
        let news: Vec<_> = {
            let state = locked(state);
            let new = state.news.iter().filter(|(version, _)| *version > seen);
            new.filter(|_| !services).cloned().collect()
        };
        for (version, slice) in news {
            writeln!(stream, "{}", json!({"type": "MODIFIED", "object": slice}))?;
            seen = version;
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
