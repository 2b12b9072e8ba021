use std::path::PathBuf;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stream::Stream;
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// CAs and certificates in a folder.
pub(crate) struct Pki {
    dir: TempDir,
}

type Ca = CertifiedIssuer<'static, KeyPair>;

/// When a certificate is valid.
#[derive(Clone, Copy)]
pub(crate) enum When {
    Now,
    Past,
    Future,
}

impl Pki {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("the folder is writable");
        path
    }

    /// A CA in `NAME.ca`.
    pub fn ca(&self, name: &str) -> Ca {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("CA {name}"));
        let key = KeyPair::generate().expect("a key");
        let ca = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        self.write(&format!("{name}.ca"), &ca.pem());
        ca
    }

    /// The files of one that `ca` has signed, who trusts the CA called `trusts`.
    pub fn party(&self, ca: &Ca, name: &str, when: When, trusts: &str) -> TlsFiles {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let (from, to) = match when {
            When::Now => (2020, 2090),
            When::Past => (2000, 2001),
            When::Future => (2080, 2090),
        };
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, ca).expect("a certificate");
        TlsFiles {
            private_key: Some(self.write(&format!("{name}.key"), &key.serialize_pem())),
            certificate: Some(self.write(&format!("{name}.pem"), &certificate.pem())),
            ca_cert: Some(self.path(&format!("{trusts}.ca"))),
        }
    }
}

impl Pki {
    /// The files of one whose certificate only it has signed; perhaps it may sign others, as openssl makes them.
    fn self_signed(&self, name: &str, is_ca: bool, trusts: &str) -> TlsFiles {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        TlsFiles {
            private_key: Some(self.write(&format!("{name}.key"), &key.serialize_pem())),
            certificate: Some(self.write(&format!("{name}.pem"), &certificate.pem())),
            ca_cert: Some(self.path(&format!("{trusts}.ca"))),
        }
    }
}

fn load(files: &TlsFiles) -> std::sync::Arc<Tls> {
    files.load().expect("good files").expect("named")
}

/// What each side makes of a connection: whom it sees, or its words.
async fn meet(server: &TlsFiles, client: &TlsFiles) -> [Result<String, String>; 2] {
    let listen = "pssl:0".parse().expect("a place");
    let listener = Listener::bind(listen, Some(&load(server))).await.expect("free");
    let place = listener.place().expect("bound");
    let (tls, target) = (load(server), place.to_string().parse::<Target>().expect("a target"));
    let serving = tokio::spawn(async move {
        let (tcp, _) = listener.accept_one().await;
        talk(stream::accepted(tcp, Some(&tls)).await).await
    });
    let near = talk(connect(&target, Some(&load(client))).await).await;
    let far = tokio::time::timeout(PATIENCE, serving).await.expect("an end").expect("no panic");
    [far, near]
}

/// Says one byte and hears one: in TLS 1.3 a client learns only by reading what became of its certificate.
async fn talk(stream: anyhow::Result<Stream>) -> Result<String, String> {
    let mut stream = stream.map_err(|error| format!("{error:#}"))?;
    let talk = async {
        stream.write_all(&[1]).await?;
        stream.flush().await?;
        stream.read_exact(&mut [0]).await
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("an end").map_err(|error| error.to_string())?;
    Ok(stream.certified().expect("TLS"))
}

#[tokio::test]
async fn both_sides_see_whose_certificate_the_other_has() {
    let pki = Pki::new();
    let (a, b) = (pki.ca("a"), pki.ca("b"));
    let server = pki.party(&a, "controller", When::Now, "b");
    let client = pki.party(&b, "switch", When::Now, "a");
    assert_eq!(meet(&server, &client).await, [Ok("switch".to_owned()), Ok("controller".to_owned())]);
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_on_both_sides() {
    let pki = Pki::new();
    let (ca, other) = (pki.ca("ca"), pki.ca("other"));
    let good = |name| pki.party(&ca, name, When::Now, "ca");
    for (server, client, far_says, near_says) in [
        // The other's CA is not the one that is trusted.
        (
            good("s1"),
            pki.party(&other, "c1", When::Now, "ca"),
            "was not signed by a CA in",
            "c1.pem: it does not trust the CA",
        ),
        (
            good("s2"),
            pki.party(&ca, "c2", When::Now, "other"),
            "s2.pem: it does not trust the CA",
            "other.ca: --ca-cert must",
        ),
        (good("s3"), pki.party(&ca, "c3", When::Past, "ca"), "expired 9", "c3.pem: it has expired"),
        (pki.party(&ca, "s4", When::Past, "ca"), good("c4"), "s4.pem: it has expired", "expired 9"),
        (good("s6"), pki.self_signed("c6", false, "ca"), "is self-signed", "c6.pem: is it self-signed?"),
        (good("s7"), pki.self_signed("c7", true, "ca"), "is self-signed", "c7.pem: is it self-signed?"),
        (pki.self_signed("s8", true, "ca"), good("c8"), "s8.pem: is it self-signed?", "is self-signed"),
        (good("s5"), pki.party(&ca, "c5", When::Future, "ca"), "not valid yet", "refuses our certificate"),
    ] {
        let [far, near] = meet(&server, &client).await;
        assert!(far.as_ref().is_err_and(|text| text.contains(far_says)), "{far_says}: {far:?}");
        assert!(near.as_ref().is_err_and(|text| text.contains(near_says)), "{near_says}: {near:?}");
    }
}

#[tokio::test]
async fn without_a_certificate_there_is_no_connection() {
    let pki = Pki::new();
    let ca = pki.ca("ca");
    let server = pki.party(&ca, "s", When::Now, "ca");
    let listener = Listener::bind("pssl:0".parse().unwrap(), Some(&load(&server))).await.expect("free");
    let addr = listener.place().unwrap().addr;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let verifier = tls::AnyName { roots: roots.into(), provider: provider.clone() };
    let anonymous = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(verifier))
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(anonymous));
    let client = tokio::spawn(async move {
        let tcp = TcpStream::connect(addr).await.unwrap();
        // How far it gets is its own affair.
        let _ = connector.connect("openflow".try_into().unwrap(), tcp).await;
    });
    let (tcp, _) = listener.accept_one().await;
    let refused = stream::accepted(tcp, Some(&load(&server))).await.expect_err("no certificate");
    assert!(format!("{refused:#}").contains("shows no certificate"), "{refused:#}");
    client.await.unwrap();
}

#[tokio::test]
async fn plain_openflow_at_a_tls_place_is_told_apart() {
    let pki = Pki::new();
    let files = pki.party(&pki.ca("ca"), "s", When::Now, "ca");
    let listener = Listener::bind("pssl:0".parse().unwrap(), Some(&load(&files))).await.expect("free");
    let mut plain = TcpStream::connect(listener.place().unwrap().addr).await.expect("it listens");
    plain.write_all(&[4, 0, 0, 8, 0, 0, 0, 1]).await.expect("it reads");
    let (tcp, _) = listener.accept_one().await;
    let refused = stream::accepted(tcp, Some(&load(&files))).await.expect_err("plain");
    assert!(format!("{refused:#}").contains("does not speak TLS"), "{refused:#}");

    // The reverse: a controller that is connected to by ssl: and says a plain hello.
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("ssl:{}", plain.local_addr().unwrap()).parse().unwrap();
    let saying = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        let _ = stream.write_all(&[4, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 16]).await;
        stream
    });
    let refused = connect(&target, Some(&load(&files))).await.expect_err("plain");
    assert!(format!("{refused:#}").contains("does not speak TLS"), "{refused:#}");
    drop(saying.await);
}

/// Serves whoever says a byte, at most two, and says one back; without TLS or with.
async fn serve_two(listen: &str, tls: Option<&std::sync::Arc<Tls>>) -> (Listen, tokio::task::JoinHandle<()>) {
    let listener = Listener::bind(listen.parse().unwrap(), tls).await.expect("free");
    let place = listener.place().unwrap();
    let serve = async |mut stream: Stream, _, stranger: Stranger| {
        let read = stream.read_exact(&mut [0]).await;
        let Ok(_place) = read.map_err(|_| ()).and_then(|_| stranger.admit().map_err(|_| ())) else { return };
        let _ = stream.write_all(&[1]).await;
        let _ = stream.flush().await;
        let _ = stream.read_exact(&mut [0]).await;
    };
    (place, tokio::spawn(accept(listener, 2, serve)))
}

async fn ends(stream: &mut TcpStream) {
    let ended = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 64])).await.expect("an end");
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn a_handshake_that_stalls_ends() {
    let pki = Pki::new();
    let files = pki.party(&pki.ca("ca"), "s", When::Now, "ca");
    for (listen, tls) in [("ptcp:0", None), ("pssl:0", Some(load(&files)))] {
        let (place, accepting) = serve_two(listen, tls.as_ref()).await;
        let mut silent = TcpStream::connect(place.addr).await.expect("it listens");
        ends(&mut silent).await;
        accepting.abort();
    }
}

#[tokio::test]
async fn so_many_are_served_and_no_more() {
    let (place, accepting) = serve_two("ptcp:0", None).await;
    let connect = async || {
        let mut stream = TcpStream::connect(place.addr).await.expect("it listens");
        stream.write_all(&[1]).await.expect("it reads");
        stream
    };
    let (mut a, mut b) = (connect().await, connect().await);
    for stream in [&mut a, &mut b] {
        tokio::time::timeout(PATIENCE, stream.read_exact(&mut [0])).await.expect("served").expect("served");
    }
    ends(&mut connect().await).await;
    // One that goes makes room.
    drop(a);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while connect().await.read_exact(&mut [0]).await.is_err() {
        assert!(tokio::time::Instant::now() < deadline, "the place was not freed");
    }
    accepting.abort();
}

/// 200 who hold sockets open, and open others when they are closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_keep_nobody_out() {
    let pki = Pki::new();
    let ca = pki.ca("ca");
    let tls = load(&pki.party(&ca, "s", When::Now, "ca"));
    let ours = load(&pki.party(&ca, "c", When::Now, "ca"));
    for (listen, tls) in [("ptcp:0", None), ("pssl:0", Some(&tls))] {
        let (place, accepting) = serve_two(listen, tls).await;
        let n_opened = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let mut strangers = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let n_opened = n_opened.clone();
            strangers.spawn(async move {
                while let Ok(mut stream) = TcpStream::connect(place.addr).await {
                    n_opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let _ = stream.read(&mut [0; 64]).await;
                }
            });
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while n_opened.load(std::sync::atomic::Ordering::Relaxed) < 400 {
            assert!(tokio::time::Instant::now() < deadline, "nobody is closed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let target = place.to_string().parse::<Target>().expect("a target");
        for _ in 0..3 {
            let started = tokio::time::Instant::now();
            let mut stream = connect(&target, Some(&ours)).await.expect("it is let in");
            stream.write_all(&[1]).await.expect("it reads");
            stream.flush().await.expect("it reads");
            let served = tokio::time::timeout(PATIENCE, stream.read_exact(&mut [0])).await;
            served.expect("an answer").expect("served");
            println!("{listen}: served after {:?}", started.elapsed());
        }
        strangers.shutdown().await;
        accepting.abort();
    }
}

#[test]
fn errors_name_the_file_and_the_way_out() {
    let pki = Pki::new();
    let ca = pki.ca("ca");
    let (a, b) = (pki.party(&ca, "a", When::Now, "ca"), pki.party(&ca, "b", When::Now, "ca"));
    let says = |files: TlsFiles, words: &[&str]| {
        let error = format!("{:#}", files.load().expect_err("bad files"));
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    };
    let with = |change: &dyn Fn(&mut TlsFiles)| {
        let mut files = a.clone();
        change(&mut files);
        files
    };
    says(with(&|f| f.ca_cert = None), &["missing: --ca-cert"]);
    says(with(&|f| f.private_key = b.private_key.clone()), &["b.key", "a.pem", "does not belong"]);
    says(with(&|f| f.private_key = f.certificate.clone()), &["a.pem", "no private key"]);
    says(with(&|f| f.certificate = f.private_key.clone()), &["a.key", "no certificate"]);
    says(with(&|f| f.ca_cert = Some("/nowhere/ca.pem".into())), &["cannot read /nowhere/ca.pem"]);
    let junk = pki.write("junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    says(with(&|f| f.ca_cert = Some(junk.clone())), &["junk", "cannot be a CA's"]);
    says(with(&|f| f.certificate = Some(junk.clone())), &["junk"]);
    assert!(TlsFiles::default().load().expect("nothing is wrong").is_none());
}
