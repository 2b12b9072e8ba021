//! The HTTP servers of daemons: they hold a bounded number of connections, whatever strangers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::serve::Listener;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

/// Most connections to one place. One more costs the oldest that has had no answer yet; when all have had one, it waits.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take for the head of a request, and be silent between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until its task is aborted; connections end with it.
/// Handlers may ask for the [`ConnectInfo`] of TCP.
pub fn serve<L>(listener: L, router: Router) -> JoinHandle<()>
where
    L: Listener,
    L::Addr: Clone + Sync + 'static,
{
    tokio::spawn(run(listener, router, HEADER_TIMEOUT))
}

/// A connection that is open.
struct Open {
    task: AbortHandle,
    answered: Arc<AtomicBool>,
}

async fn run<L>(mut listener: L, router: Router, patience: Duration)
where
    L: Listener,
    L::Addr: Clone + Sync + 'static,
{
    let mut tasks = JoinSet::new();
    let mut open: Vec<Open> = Vec::new();
    loop {
        // It sleeps over errors, such as having no descriptor left.
        let (stream, peer) = listener.accept().await;
        while tasks.try_join_next().is_some() {}
        open.retain(|connection| !connection.task.is_finished());
        if open.len() >= MAX_CONNECTIONS {
            let silent = open.iter().position(|connection| !connection.answered.load(Ordering::Relaxed));
            match silent {
                Some(at) => open.remove(at).task.abort(),
                None => drop(tasks.join_next().await),
            }
        }
        let answered = Arc::new(AtomicBool::new(false));
        let router = router.clone().layer(Extension(ConnectInfo(peer)));
        let task = tasks.spawn(connection(TokioIo::new(stream), router, answered.clone(), patience));
        open.push(Open { task, answered });
    }
}

async fn connection<I>(io: I, router: Router, answered: Arc<AtomicBool>, patience: Duration)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request| {
        let (answer, answered) = (router.call(request), answered.clone());
        async move {
            let answer = answer.await;
            answered.store(true, Ordering::Relaxed);
            answer
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(patience);
    if let Err(error) = server.serve_connection(io, service).await {
        tracing::debug!(%error, "an HTTP connection ended badly");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    async fn start(patience: Duration) -> (std::net::SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let place = listener.local_addr().expect("bound");
        let router = Router::new().route("/", get(|| async { "here" }));
        (place, tokio::spawn(run(listener, router, patience)))
    }

    /// Whatever comes until the connection ends.
    async fn rest(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        // One that was cut off ends with an error.
        let read = stream.read_to_end(&mut text);
        let _ = tokio::time::timeout(DEADLINE, read).await.expect("the connection ends");
        String::from_utf8(text).expect("text")
    }

    async fn send(place: std::net::SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(place).await.expect("it listens");
        stream.write_all(text.as_bytes()).await.expect("it reads");
        stream
    }

    #[tokio::test]
    async fn those_who_never_ask_make_room_for_those_who_do() {
        let (place, server) = start(Duration::from_secs(3600)).await;
        let mut idle = Vec::new();
        for _ in 0..3 * MAX_CONNECTIONS {
            idle.push(send(place, "GET /met").await);
        }
        let asked = send(place, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let answer = rest(asked).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("here"), "{answer}");
        assert_eq!(rest(idle.remove(0)).await, "", "the oldest had to go");
        server.abort();
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_the_connection() {
        let (place, server) = start(Duration::from_millis(100)).await;
        for begin in ["", "GET /met", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
            // Silence after an answer, too.
            let answer = rest(send(place, begin).await).await;
            assert_eq!(answer.ends_with("here"), begin.ends_with("\r\n\r\n"), "{begin:?}: {answer}");
        }
        server.abort();
    }
}
