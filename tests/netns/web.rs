//! TLS, passwords and limits of the HTTP pages (`--web.config.file`), as curl,
//! openssl and Prometheus find them.

#[path = "web/bed.rs"]
mod bed;
#[path = "web/clients.rs"]
mod clients;
#[path = "web/hostile.rs"]
mod hostile;
#[path = "web/prometheus.rs"]
mod prometheus;
#[path = "web/server.rs"]
mod server;
#[path = "web/start.rs"]
mod start;
