//! From a server's address to a stream of bytes.

use std::io;
use std::sync::Arc;

use hyper::{Method, Request, header, http};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::{Client, Result, Server};

/// What a connection is.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The CAs whose certificates servers must show, with their own names in them.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust")
    }
}

/// A text that names no CA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no certificate of a CA in PEM form: {0}")]
pub struct TrustError(String);

impl Trust {
    /// Certificates in PEM form, at least one.
    ///
    /// # Errors
    /// There is none, or one that cannot be a CA's.
    pub fn of_pem(pem: &[u8]) -> std::result::Result<Self, TrustError> {
        let wrong = |error: &dyn std::fmt::Display| TrustError(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| wrong(&error))?;
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
        if roots.is_empty() {
            return Err(wrong(&"\"-----BEGIN CERTIFICATE-----\" is not in it"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

impl Client {
    /// The same with a token that says who asks.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The same with CAs to trust, for servers with `https`.
    #[must_use]
    pub fn with_trust(mut self, trust: Trust) -> Self {
        self.trust = Some(trust);
        self
    }

    /// The beginning of a request.
    pub(super) fn request(&self, method: &Method, path: &str) -> http::request::Builder {
        let host = match &self.server {
            Server::Unix(_) => "localhost",
            Server::Tcp(host) | Server::Tls(host) => host,
        };
        let request = Request::builder().method(method).uri(path).header(header::HOST, host);
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>> {
        let stream = self.stream().await;
        stream.map_err(|error| self.connect_error(error))
    }

    async fn stream(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match &self.server {
            Server::Unix(socket) => Box::new(UnixStream::connect(socket).await?),
            Server::Tcp(host) => Box::new(TcpStream::connect(host).await?),
            Server::Tls(host) => {
                let wrong = |error: &'static str| io::Error::new(io::ErrorKind::InvalidInput, error);
                let Trust(config) = self
                    .trust
                    .clone()
                    .ok_or_else(|| wrong("https needs the certificate of a CA to trust"))?;
                let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
                let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(name).map_err(|_| wrong("no name of a server"))?;
                let stream = TcpStream::connect(host).await?;
                Box::new(TlsConnector::from(config).connect(name, stream).await?)
            }
        })
    }
}
