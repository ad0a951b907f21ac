//! A relay on loopback: passes bytes on to a server, under TLS if asked, as a proxy if asked; or serves one page to everybody.
#![expect(clippy::unwrap_used, reason = "a helper of tests: what fails here fails the test")]

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The certificate of the fixtures.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    pub fn fixture() -> Self {
        let file = |name: &str| format!("{}/tests/loopback/tls/{name}", env!("CARGO_MANIFEST_DIR"));
        let certificate = CertificateDer::from_pem_file(file("certificate.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Self(TlsAcceptor::from(Arc::new(config)))
    }
}

pub struct Relay {
    pub addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    generation: watch::Sender<u32>,
}

impl Relay {
    pub async fn start(to: SocketAddr, tls: Option<Tls>, proxy: bool) -> Self {
        Self::serve(move |stream| {
            let tls = tls.clone();
            async move {
                match tls {
                    None => pass(stream, to, proxy).await,
                    Some(Tls(acceptor)) => {
                        // A client that trusts nobody hangs up; that is its answer.
                        if let Ok(stream) = acceptor.accept(stream).await {
                            pass(stream, to, proxy).await;
                        }
                    }
                }
            }
        })
        .await
    }

    /// Answers everything with one page.
    pub async fn page(text: &'static str) -> Self {
        Self::serve(move |mut stream| async move {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await
    }

    async fn serve<F>(handle: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (accepted, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (generation, _) = watch::channel(0);
        let (counter, opened, generations) = (accepted.clone(), open.clone(), generation.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                opened.fetch_add(1, Ordering::SeqCst);
                let mut ends = generations.subscribe();
                let (work, opened) = (handle(stream), opened.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = work => {}
                        _ = ends.changed() => {}
                    }
                    opened.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { addr, accepted, open, generation }
    }

    pub fn url(&self, host: &str) -> String {
        format!("http://{host}:{}", self.addr.port())
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Closes every connection, and waits until they are.
    pub async fn drop_connections(&self) {
        self.generation.send_modify(|n| *n += 1);
        while self.open.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }
}

async fn pass(mut stream: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr, proxy: bool) {
    if proxy {
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        assert!(head.starts_with(b"CONNECT localhost:"), "only tunnels come here");
        if stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.is_err() {
            return;
        }
    }
    if let Ok(mut server) = TcpStream::connect(to).await {
        let _ = copy_bidirectional(&mut stream, &mut server).await;
    }
}
