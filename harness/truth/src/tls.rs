//! TLS by rustls with the `ring` provider and one certificate that everybody knows.

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// The certificate of a server with TLS, for clients that shall trust it: for localhost, 127.0.0.1 and ::1. Its key is as public as this
/// is, so it protects nothing and must be trusted for nothing else.
pub const CERTIFICATE_PEM: &str = include_str!("../tls/certificate.pem");
const KEY_PEM: &str = include_str!("../tls/key.pem");

/// What accepts TLS, and agrees on HTTP/2 or HTTP/1.1.
///
/// # Errors
/// What is wrong with the certificate, which a test rules out.
pub fn acceptor() -> Result<TlsAcceptor, String> {
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE_PEM.as_bytes()).map_err(|e| e.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(KEY_PEM.as_bytes()).map_err(|e| e.to_string())?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key))
        .map_err(|e| e.to_string())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_certificate_fits_its_key() {
        assert!(super::acceptor().is_ok());
    }
}
