//! One connection, plain or encrypted.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsStream;

use super::certificate::common_name;
use super::tls::Words;
use super::{Target, Tls, Transport};

/// Time for a TCP connection to be made, the name looked up included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the TLS handshake, from either side.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that carries OpenFlow.
#[derive(Debug)]
pub enum Stream {
    /// Plain.
    Plain(TcpStream),
    /// Encrypted; errors are put into words.
    Tls(Box<TlsStream<TcpStream>>, Words),
}

impl Stream {
    /// Whose certificate the other side has shown: its common name.
    pub fn certified(&self) -> Option<String> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream, _) => {
                let certificate = stream.get_ref().1.peer_certificates()?.first()?;
                Some(common_name(certificate).unwrap_or_else(|| "a certificate without a name".to_owned()))
            }
        }
    }
}

/// Connects to a target.
///
/// # Errors
/// Nobody there, or no TLS handshake: in words.
pub async fn connect(target: &Target, tls: Option<&Tls>) -> anyhow::Result<Stream> {
    let tcp = match timeout(CONNECT_TIMEOUT, TcpStream::connect((target.host.as_str(), target.port))).await {
        Ok(tcp) => tcp.context("cannot connect")?,
        Err(_) => bail!("cannot connect: no answer within {CONNECT_TIMEOUT:?}"),
    };
    // Replies are small and waited for.
    let _ = tcp.set_nodelay(true);
    match (target.transport, tls) {
        (Transport::Tcp, _) => Ok(Stream::Plain(tcp)),
        (Transport::Tls, None) => bail!("no keys for TLS"),
        (Transport::Tls, Some(tls)) => {
            // Names in certificates are not compared, so this one does not matter.
            let name = ServerName::try_from("openflow").context("a constant name")?;
            let handshake = timeout(HANDSHAKE_TIMEOUT, tls.connector().connect(name, tcp)).await;
            finish(handshake.map(|shaken| shaken.map(TlsStream::from)), tls)
        }
    }
}

/// Takes a connection in.
pub(super) async fn accepted(tcp: TcpStream, tls: Option<&Tls>) -> anyhow::Result<Stream> {
    let _ = tcp.set_nodelay(true);
    let Some(tls) = tls else { return Ok(Stream::Plain(tcp)) };
    let handshake = timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(tcp)).await;
    finish(handshake.map(|shaken| shaken.map(TlsStream::from)), tls)
}

fn finish<E>(handshake: Result<io::Result<TlsStream<TcpStream>>, E>, tls: &Tls) -> anyhow::Result<Stream> {
    match handshake {
        Ok(Ok(stream)) => Ok(Stream::Tls(Box::new(stream), tls.words().clone())),
        Ok(Err(error)) => Err(tls.words().explain(error).into()),
        Err(_) => bail!("no TLS handshake within {HANDSHAKE_TIMEOUT:?}"),
    }
}

/// Writes some of `bytes`; flushes if there are none: TLS keeps back what the socket does not take.
pub async fn write<W: AsyncWrite + Unpin>(writer: &mut W, bytes: &[u8]) -> std::io::Result<usize> {
    if bytes.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    writer.write(bytes).await
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            // In TLS 1.3 a refusal of our certificate arrives behind the handshake.
            Self::Tls(stream, words) => Pin::new(stream).poll_read(cx, buf).map_err(|e| words.explain(e)),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream, words) => Pin::new(stream).poll_write(cx, bytes).map_err(|e| words.explain(e)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream, words) => Pin::new(stream).poll_flush(cx).map_err(|e| words.explain(e)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream, words) => Pin::new(stream).poll_shutdown(cx).map_err(|e| words.explain(e)),
        }
    }
}
