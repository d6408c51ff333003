//! Who an end is, and whom it believes.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
};
use thiserror::Error;

/// Why certificates are of no use.
#[derive(Debug, Error)]
pub enum BadCertificate {
    /// The file of certificates is not what it should be.
    #[error("no certificate in PEM: {0}")]
    Certificates(pem::Error),
    /// There is none in it.
    #[error("no certificate in PEM")]
    NoCertificate,
    /// The file of the key is not what it should be.
    #[error("no private key in PEM: {0}")]
    Key(pem::Error),
    /// The system tells nobody to believe.
    #[error("this system has no root certificates: name a file with --tls-ca")]
    NoRoots,
    /// No certificate can be for such a host.
    #[error("\"{0}\" is no name that a certificate could have")]
    Host(String),
    /// They are not what TLS can use, or do not belong together.
    #[error(transparent)]
    Unusable(#[from] rustls::Error),
}

/// The end that shows a certificate.
#[derive(Clone, Debug)]
pub struct Server(Arc<ServerConfig>);

impl Server {
    /// A server with a chain of certificates, its own first, and the key of that one, all in PEM.
    ///
    /// # Errors
    /// [`BadCertificate`].
    pub fn new(certificates: &[u8], key: &[u8]) -> Result<Self, BadCertificate> {
        let chain = chain(certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(BadCertificate::Key)?;
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        // A process that serves one connection has nobody to come back.
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }

    /// A connection that a client begins.
    ///
    /// # Errors
    /// [`BadCertificate::Unusable`].
    pub fn connection(&self) -> Result<Connection, BadCertificate> {
        let connection = ServerConnection::new(Arc::clone(&self.0))?;
        Ok(connection.into())
    }
}

/// The end that believes a certificate, or does not.
#[derive(Clone, Debug)]
pub struct Client(Arc<ClientConfig>);

impl Client {
    /// A client that believes whom the system believes.
    ///
    /// # Errors
    /// [`BadCertificate::NoRoots`].
    pub fn of_system() -> Result<Self, BadCertificate> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        match roots.is_empty() {
            true => Err(BadCertificate::NoRoots),
            false => Self::believing(roots),
        }
    }

    /// A client that believes these certificates, in PEM, and those that they vouch for.
    ///
    /// # Errors
    /// [`BadCertificate`].
    pub fn new(certificates: &[u8]) -> Result<Self, BadCertificate> {
        let mut roots = RootCertStore::empty();
        for certificate in chain(certificates)? {
            roots.add(certificate)?;
        }
        Self::believing(roots)
    }

    fn believing(roots: RootCertStore) -> Result<Self, BadCertificate> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// A connection to the server of this name or address, which its certificate has to have.
    ///
    /// # Errors
    /// [`BadCertificate::Host`] and [`BadCertificate::Unusable`].
    pub fn connection(&self, host: &str) -> Result<Connection, BadCertificate> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| BadCertificate::Host(host.to_owned()))?;
        let connection = ClientConnection::new(Arc::clone(&self.0), name)?;
        Ok(connection.into())
    }
}

fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, BadCertificate> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let chain = chain.map_err(BadCertificate::Certificates)?;
    match chain.is_empty() {
        true => Err(BadCertificate::NoCertificate),
        false => Ok(chain),
    }
}
