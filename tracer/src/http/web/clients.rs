//! Judges the certificates of clients.

use std::{net::IpAddr, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, UnixTime},
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_cert::{
    Certificate,
    der::{Decode as _, oid::db::rfc5280},
    ext::pkix::{ExtendedKeyUsage, SubjectAltName, name::GeneralName},
};

/// A client has to have the key of the certificate that it shows, in any case.
#[derive(Debug)]
pub(super) struct Clients {
    /// Who vouches for it; `None`: nobody has to.
    authorities: Option<Authorities>,
    required: bool,
    allowed_sans: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Authorities {
    verifier: Arc<dyn ClientCertVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Clients {
    /// `roots`: the authorities, for rustls and as they are.
    pub(super) fn new(
        roots: Option<(RootCertStore, Vec<CertificateDer<'static>>)>,
        required: bool,
        allowed_sans: Option<Vec<String>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let authorities = match roots {
            None => None,
            Some((roots, certificates)) => Some(Authorities {
                verifier: WebPkiClientVerifier::builder_with_provider(
                    roots.into(),
                    Arc::clone(provider),
                )
                .build()?,
                certificates,
            }),
        };
        Ok(Self {
            authorities,
            required,
            allowed_sans,
            algorithms: provider.signature_verification_algorithms,
        })
    }
}

impl Authorities {
    fn verify(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // One that is trusted as it is needs nobody to vouch for it.
        if self.certificates.contains(shown) {
            return holds(shown, now);
        }
        let verifier = &self.verifier;
        let verified = verifier.verify_client_cert(shown, intermediates, now);
        verified.map(drop)
    }
}

fn parse(certificate: &CertificateDer<'_>) -> Result<Certificate, Error> {
    Certificate::from_der(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn refused() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

/// Whether it is the time of a certificate, and clients may use it.
fn holds(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let certificate = parse(certificate)?;
    let tbs = certificate.tbs_certificate();
    let (validity, now) = (tbs.validity(), now.as_secs());
    if now < validity.not_before.to_unix_duration().as_secs() {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    if now > validity.not_after.to_unix_duration().as_secs() {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    let uses = tbs.get_extension::<ExtendedKeyUsage>();
    let uses = uses.map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let clients = [rfc5280::ID_KP_CLIENT_AUTH, rfc5280::ANY_EXTENDED_KEY_USAGE];
    match uses {
        Some((_, uses)) if !uses.0.iter().any(|id| clients.contains(id)) => {
            Err(Error::InvalidCertificate(CertificateError::InvalidPurpose))
        }
        _ => Ok(()),
    }
}

/// DNS names, mail addresses, IP addresses and URIs that a certificate is for.
fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Error> {
    let certificate = parse(certificate)?;
    let found = certificate
        .tbs_certificate()
        .get_extension::<SubjectAltName>();
    let bad = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
    let Some((_, SubjectAltName(all))) = found.map_err(bad)? else {
        return Ok(Vec::new());
    };
    let name = |name: &GeneralName| match name {
        GeneralName::DnsName(name)
        | GeneralName::Rfc822Name(name)
        | GeneralName::UniformResourceIdentifier(name) => Some(name.to_string()),
        GeneralName::IpAddress(octets) => address(octets.as_bytes()).map(|ip| ip.to_string()),
        _ => None,
    };
    Ok(all.iter().filter_map(name).collect())
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let sixteen = || <[u8; 16]>::try_from(octets).map(IpAddr::from);
    let address = four.or_else(|_| sixteen()).ok()?;
    Some(address.to_canonical())
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        let authorities = self.authorities.as_ref();
        authorities.map_or(&[], |a| a.verifier.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(authorities) = &self.authorities {
            authorities.verify(shown, intermediates, now)?;
        }
        if let Some(allowed) = &self.allowed_sans
            && !names(shown)?.iter().any(|name| allowed.contains(name))
        {
            return Err(refused());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    /// For the address 127.0.0.1.
    const CERTIFICATE: &[u8] = include_bytes!("../../services/kubernetes/tests/testdata/cert.pem");

    fn certificate() -> Vec<u8> {
        CertificateDer::from_pem_slice(CERTIFICATE)
            .unwrap()
            .to_vec()
    }

    #[test]
    fn names_are_those_of_the_certificate() {
        let names = names(&certificate().into()).unwrap();
        assert!(names.contains(&"127.0.0.1".to_owned()), "{names:?}");
    }

    proptest! {
        /// A client may show anything.
        #[test]
        fn no_certificate_panics(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            length in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let mut bytes = certificate();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if is_cut {
                bytes.truncate(length.index(bytes.len()));
            }
            let shown = CertificateDer::from(bytes);
            let _ = names(&shown);
            let _ = holds(&shown, UnixTime::now());
        }
    }
}
