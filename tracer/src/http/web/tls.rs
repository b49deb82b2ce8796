//! TLS as the file wants it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, SupportedKxGroup, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::NoServerSessionStorage,
};

use super::clients::Clients;
use crate::{
    files::{self, LARGEST, Refusal},
    privileges,
};

/// The section `tls_server_config`, checked.
#[derive(Debug)]
pub(super) struct Tls {
    pub certificate: Source,
    pub key: Source,
    /// Who vouches for clients.
    pub authority: Option<Source>,
    pub clients: ClientAuth,
    /// Names of which a client's certificate has to have one.
    pub allowed_sans: Option<Vec<String>>,
    pub versions: &'static [&'static SupportedProtocolVersion],
    pub suites: Vec<SupportedCipherSuite>,
    pub groups: Vec<&'static dyn SupportedKxGroup>,
    /// The order of `suites` counts, not the client's.
    pub own_order: bool,
}

/// What is asked of clients, by Go's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuth {
    None,
    Request,
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

impl ClientAuth {
    pub(super) fn named(name: &str) -> Result<Self, String> {
        Ok(match name {
            "" | "NoClientCert" => Self::None,
            "RequestClientCert" => Self::Request,
            // The second is an old name of the first.
            "RequireAnyClientCert" | "RequireClientCert" => Self::RequireAny,
            "VerifyClientCertIfGiven" => Self::VerifyIfGiven,
            "RequireAndVerifyClientCert" => Self::RequireAndVerify,
            _ => return Err(format!("client_auth_type: unknown policy `{name}`")),
        })
    }

    pub(super) fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }

    pub(super) fn requires(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }
}

/// Where a piece of PEM comes from.
#[derive(Debug)]
pub(super) enum Source {
    File(PathBuf),
    Text(String),
}

impl Source {
    fn read(&self, what: &str) -> Result<Vec<u8>, String> {
        match self {
            Self::File(path) => files::read(path, LARGEST)
                .map_err(|e| format!("{what}: read {}: {}", path.display(), told(&e))),
            Self::Text(text) => Ok(text.clone().into_bytes()),
        }
    }
}

/// The PEM of a moment.
#[derive(PartialEq, Eq)]
pub(super) struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Option<Vec<u8>>,
}

/// Why a file was not read, and what may be behind it.
pub(super) fn told(refusal: &Refusal) -> String {
    if refusal.is_denied() && privileges::begun() {
        return format!(
            "{refusal} (tracer run reads as its user, and only in folders named at its start)"
        );
    }
    refusal.to_string()
}

impl Tls {
    /// The files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let authority = self.authority.as_ref();
        let sources = [&self.certificate, &self.key].into_iter().chain(authority);
        sources.filter_map(|source| match source {
            Source::File(path) => Some(path.as_path()),
            Source::Text(_) => None,
        })
    }

    /// Reads all that is named.
    pub(super) fn pem(&self) -> Result<Pem, String> {
        let authority = self.authority.as_ref();
        Ok(Pem {
            certificate: self.certificate.read("certificate")?,
            key: self.key.read("key")?,
            authority: authority.map(|a| a.read("client_ca")).transpose()?,
        })
    }

    /// What handshakes go by.
    ///
    /// # Errors
    /// What is wrong with the PEM, or does not fit together.
    pub(super) fn server(&self, pem: &Pem) -> Result<ServerConfig, String> {
        let provider = Arc::new(CryptoProvider {
            cipher_suites: self.suites.clone(),
            kx_groups: self.groups.clone(),
            ..ring::default_provider()
        });
        let chain = certificates(&pem.certificate).map_err(|e| format!("certificate: {e}"))?;
        let key = PrivateKeyDer::from_pem_slice(&pem.key)
            .map_err(|e| format!("key: no private key in PEM: {e}"))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .map_err(|e| format!("cipher_suites, versions: {e}"))?;
        let builder = match self.clients {
            ClientAuth::None => builder.with_no_client_auth(),
            _ => builder.with_client_cert_verifier(Arc::new(self.verifier(pem, &provider)?)),
        };
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|e| format!("certificate and key: {e}"))?;
        config.ignore_client_order = self.own_order;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // No state is kept for who has gone, and no client outlives a change of
        // what is asked of clients.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    fn verifier(&self, pem: &Pem, provider: &Arc<CryptoProvider>) -> Result<Clients, String> {
        let mut roots = RootCertStore::empty();
        let mut trusted = Vec::new();
        if let Some(authority) = &pem.authority {
            for certificate in certificates(authority).map_err(|e| format!("client_ca: {e}"))? {
                trusted.push(certificate.clone());
                let added = roots.add(certificate);
                added.map_err(|e| format!("client_ca: {e}"))?;
            }
        }
        // Who has to have a name has to have a certificate.
        let required = self.clients.requires() || self.allowed_sans.is_some();
        let roots = self.clients.verifies().then_some((roots, trusted));
        Clients::new(roots, required, self.allowed_sans.clone(), provider)
            .map_err(|e| format!("client_ca: {e}"))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if all.is_empty() => Err("no certificate in PEM".into()),
        Ok(all) => Ok(all),
        Err(e) => Err(format!("no certificates in PEM: {e}")),
    }
}
