//! TLS with certificates checked both ways (§6.3.3), and its errors in words.
//!
//! As in Open vSwitch, whoever shows a certificate of the given CA is trusted; the name in it is not compared with the
//! address, so the CA must be one that signs switches and controllers and nothing else.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, OtherError,
    RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificate::is_self_signed;

/// Where the keys are, with the names of Open vSwitch's options.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TlsFiles {
    /// For `ssl:` and `pssl:`: file with the private key (PEM) that belongs to the certificate.
    #[arg(long, short = 'p', value_name = "FILE", help_heading = "TLS")]
    pub private_key: Option<PathBuf>,
    /// File with the certificate (PEM) that is shown to peers, and those between it and its CA.
    #[arg(long, short = 'c', value_name = "FILE", help_heading = "TLS")]
    pub certificate: Option<PathBuf>,
    /// File with the certificates (PEM) of the CAs whose certificates peers must show.
    #[arg(long, short = 'C', value_name = "FILE", help_heading = "TLS")]
    pub ca_cert: Option<PathBuf>,
}

impl TlsFiles {
    /// Reads the files. None if none was named.
    ///
    /// # Errors
    /// One that is missing, unreadable or holds something else, or a key that does not belong to the certificate.
    pub fn load(&self) -> anyhow::Result<Option<Arc<Tls>>> {
        match (&self.private_key, &self.certificate, &self.ca_cert) {
            (None, None, None) => Ok(None),
            (Some(key), Some(certificate), Some(ca)) => {
                Tls::load(key, certificate, ca).map(Arc::new).map(Some)
            }
            (key, certificate, ca) => {
                let all = [("--private-key", key), ("--certificate", certificate), ("--ca-cert", ca)];
                let missing: Vec<_> =
                    all.iter().filter(|(_, file)| file.is_none()).map(|(name, _)| *name).collect();
                bail!("TLS needs --private-key, --certificate and --ca-cert; missing: {}", missing.join(", "))
            }
        }
    }
}

/// The keys of this process and the CAs it trusts.
pub struct Tls {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
    words: Words,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("words", &self.words).finish_non_exhaustive()
    }
}

impl Tls {
    fn load(key: &Path, certificate: &Path, ca: &Path) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let own = own_key(key, certificate, &provider)?;
        let roots = Arc::new(roots(ca)?);
        let verifier = Arc::new(AnyName { roots: roots.clone(), provider: provider.clone() });
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.clone())));
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build()?;
        let verifier = Arc::new(Blunt(verifier));
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        let words = Words { certificate: certificate.into(), ca: ca.into() };
        let (client, server) = (Arc::new(client), Arc::new(server));
        Ok(Self { connector: client.into(), acceptor: server.into(), words })
    }

    /// The keys for `place`, which needs them.
    ///
    /// # Errors
    /// There are none.
    pub fn needed<'a>(
        tls: Option<&'a Arc<Self>>,
        place: &impl fmt::Display,
    ) -> anyhow::Result<&'a Arc<Self>> {
        tls.with_context(|| format!("{place} needs --private-key, --certificate and --ca-cert"))
    }

    pub(super) fn connector(&self) -> &TlsConnector {
        &self.connector
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    pub(super) fn words(&self) -> &Words {
        &self.words
    }
}

/// Keys of a server that asks its clients for no certificate.
///
/// # Errors
/// A file that is missing, unreadable or holds something else, or a key that does not belong to the certificate.
pub fn server_keys(key: &Path, certificate: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let own = own_key(key, certificate, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn own_key(key: &Path, certificate: &Path, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
    let chain = certificates(certificate)?;
    let der = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| {
        anyhow::anyhow!("{} holds no private key in PEM form that is not encrypted: {error}", key.display())
    })?;
    let own = CertifiedKey::from_der(chain, der, provider);
    own.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => anyhow::anyhow!(
            "the private key {} does not belong to the certificate {}: name the two that were made together",
            key.display(),
            certificate.display()
        ),
        error => anyhow::anyhow!(
            "the private key {} or the certificate {} cannot be used: {error}",
            key.display(),
            certificate.display()
        ),
    })
}

fn roots(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| {
            anyhow::anyhow!("{} holds a certificate that cannot be a CA's: {error}", file.display())
        })?;
    }
    Ok(roots)
}

/// At least one.
fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let wrong = || format!("{} holds no certificate in PEM form", file.display());
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    let found = found.map_err(|error| anyhow::anyhow!("{error}")).with_context(wrong)?;
    if found.is_empty() {
        bail!("{}: \"-----BEGIN CERTIFICATE-----\" is not in it", wrong());
    }
    Ok(found)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Trusts every certificate of the CAs, whatever name is in it.
#[derive(Debug)]
pub(super) struct AnyName {
    pub roots: Arc<RootCertStore>,
    pub provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)
            .map_err(|error| bluntly(error, end_entity))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate that nobody but its owner has signed.
#[derive(Debug, thiserror::Error)]
#[error("it is self-signed")]
struct SelfSigned;

/// That a certificate is self-signed is worth more than that its issuer is not known.
fn bluntly(error: rustls::Error, certificate: &CertificateDer<'_>) -> rustls::Error {
    let is_issuer = match &error {
        // How webpki refuses a self-signed certificate that may sign others: `CaUsedAsEndEntity`.
        rustls::Error::InvalidCertificate(wrong) => {
            matches!(wrong, CertificateError::UnknownIssuer | CertificateError::Other(_))
        }
        _ => false,
    };
    if is_issuer && is_self_signed(certificate) {
        CertificateError::Other(OtherError(Arc::new(SelfSigned))).into()
    } else {
        error
    }
}

/// Verifies certificates of clients as another does, and says more.
#[derive(Debug)]
struct Blunt(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Blunt {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.0.verify_client_cert(end_entity, intermediates, now);
        verified.map_err(|error| bluntly(error, end_entity))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Says what an error of TLS means for whoever runs this.
#[derive(Debug, Clone)]
pub struct Words {
    certificate: Arc<Path>,
    ca: Arc<Path>,
}

impl Words {
    /// The same error with another text, if it is one of TLS.
    pub fn explain(&self, error: io::Error) -> io::Error {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls.map(|tls| self.text(tls)) {
            Some(text) => io::Error::new(error.kind(), text),
            None => error,
        }
    }

    fn text(&self, error: &rustls::Error) -> String {
        let (own, ca) = (self.certificate.display(), self.ca.display());
        match error {
            rustls::Error::InvalidCertificate(wrong) => self.peer_certificate(wrong),
            rustls::Error::NoCertificatesPresented => format!(
                "the peer shows no certificate: it must be given one that the CA in {ca} has signed, and its key"
            ),
            rustls::Error::InvalidMessage(_) => {
                "the peer does not speak TLS: use tcp: or ptcp: for plain OpenFlow, or give it ssl: or pssl:"
                    .to_owned()
            }
            rustls::Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateExpired => {
                    format!("the peer refuses our certificate {own}: it has expired (or a clock is wrong)")
                }
                AlertDescription::UnknownCA => {
                    format!("the peer refuses our certificate {own}: it does not trust the CA that signed it")
                }
                // What rustls says of a certificate that is self-signed, too.
                AlertDescription::CertificateUnknown => {
                    format!(
                        "the peer refuses our certificate {own}: is it self-signed? A CA that the peer trusts must have signed it"
                    )
                }
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::AccessDenied => {
                    format!("the peer refuses our certificate {own} ({alert:?})")
                }
                alert => format!("the peer ended the TLS connection ({alert:?})"),
            },
            error => format!("TLS: {error}"),
        }
    }

    fn peer_certificate(&self, wrong: &CertificateError) -> String {
        let ca = self.ca.display();
        let days = |from: &UnixTime, to: &UnixTime| to.as_secs().saturating_sub(from.as_secs()) / 86_400;
        match wrong {
            CertificateError::ExpiredContext { time, not_after } => format!(
                "the peer's certificate expired {} days ago: it needs a new one (or the clock here is wrong)",
                days(not_after, time)
            ),
            CertificateError::Expired => {
                "the peer's certificate has expired: it needs a new one (or the clock here is wrong)"
                    .to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the peer's certificate is not valid yet: a clock is wrong".to_owned()
            }
            // Two CAs may bear the same name, as those of ovs-pki made for different sites do.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                format!(
                    "the peer's certificate was not signed by a CA in {ca}: --ca-cert must name the peer's CA"
                )
            }
            CertificateError::Other(OtherError(other)) if other.is::<SelfSigned>() => format!(
                "the peer's certificate is self-signed: the peer must be given one that a CA in {ca} has signed"
            ),
            wrong => format!("the peer's certificate cannot be accepted: {wrong}"),
        }
    }
}
