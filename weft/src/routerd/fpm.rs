//! Routes of a routing daemon: FPM over TCP, one daemon at a time.

use std::io;
use std::time::Duration;

use packet::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, timeout};
use vrouter::{Fpm, FpmError, Router};

use super::task::Owner;

/// How long a daemon may leave its answers unread.
const PATIENCE: Duration = Duration::from_secs(30);

enum Event {
    Accepted(io::Result<(TcpStream, std::net::SocketAddr)>),
    Read(io::Result<usize>),
    Tick,
}

/// Serves daemons until the router has been stopped. One that connects takes the place of the one before, which may have
/// died unnoticed.
pub async fn serve(listener: TcpListener, owner: Owner, router: String) -> anyhow::Result<()> {
    let mut fpm = Fpm::default();
    let mut session: Option<TcpStream> = None;
    let mut buffer = vec![0; 256 << 10];
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            accepted = listener.accept() => Event::Accepted(accepted),
            read = read(&mut session, &mut buffer) => Event::Read(read),
            _ = ticks.tick() => Event::Tick,
        };
        match event {
            Event::Accepted(Ok((stream, peer))) => {
                tracing::info!(router, %peer, "a routing daemon has connected");
                session = Some(stream);
                fpm = owner.lend(fpm, |fpm, _, now| fpm.connected(now)).await?.0;
            }
            Event::Accepted(Err(error)) => tracing::warn!(router, %error, "no connection for FPM"),
            Event::Read(Ok(n)) if n > 0 => {
                let bytes = buffer[..n].to_vec();
                let result: Result<(), FpmError>;
                (fpm, result) = owner.lend(fpm, move |fpm, r, now| fpm.handle_bytes(r, now, &bytes)).await?;
                let told = answer(&mut fpm, session.as_mut()).await;
                if let Err(error) = result.map_err(anyhow::Error::from).and(told) {
                    tracing::warn!(router, error = format!("{error:#}"), "the routing daemon is turned away");
                    session = None;
                    fpm = owner.lend(fpm, |fpm, _, now| fpm.disconnected(now)).await?.0;
                }
            }
            Event::Read(_) => {
                tracing::warn!(router, "the routing daemon has gone; its routes stay for a while");
                session = None;
                fpm = owner.lend(fpm, |fpm, _, now| fpm.disconnected(now)).await?.0;
            }
            Event::Tick => {
                let is_outdated: bool;
                (fpm, is_outdated) = owner.lend(fpm, tick).await?;
                if is_outdated && session.take().is_some() {
                    tracing::info!(
                        router,
                        "the routing daemon is to tell its tables again: VRFs have others"
                    );
                    fpm = owner.lend(fpm, |fpm, _, now| fpm.disconnected(now)).await?.0;
                }
            }
        }
    }
}

/// Does what is due; whether the session is [outdated](Fpm::is_outdated).
fn tick(fpm: &mut Fpm, router: &mut Router, now: Instant) -> bool {
    fpm.handle_timeout(router, now);
    fpm.is_outdated(router)
}

/// What the session sends; never, if there is none.
async fn read(session: &mut Option<TcpStream>, buffer: &mut [u8]) -> io::Result<usize> {
    match session {
        Some(stream) => stream.read(buffer).await,
        None => std::future::pending().await,
    }
}

/// Sends the answers there are.
async fn answer(fpm: &mut Fpm, session: Option<&mut TcpStream>) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    while let Some(answer) = fpm.poll_output() {
        bytes.extend(answer);
    }
    if let Some(stream) = session {
        timeout(PATIENCE, stream.write_all(&bytes)).await??;
    }
    Ok(())
}
