use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::options::Config;
use crate::servers::ServerError;

/// A certificate for 127.0.0.1 and `localhost`, and the authority that says so, both made for one test.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Tls {
    /// Makes both, as files in a folder.
    pub(super) fn make(folder: &Path) -> Result<Self, ServerError> {
        let [ca_pem, certificate_pem, key_pem] = issue().map_err(|error| ServerError::Certificate {
            reason: error.to_string(),
        })?;
        let write = |name, text| {
            let file = folder.join(name);
            fs::write(&file, text).map_err(ServerError::io(format!("writing {}", file.display())))?;
            Ok(file)
        };
        Ok(Self {
            ca: write("ca.pem", ca_pem)?,
            certificate: write("server.pem", certificate_pem)?,
            key: write("server.key", key_pem)?,
        })
    }

    /// The lines for a server that listens with TLS on this port, to clients, replicas and the cluster's bus.
    pub(super) fn config(&self, port: u16, config: &mut Config) {
        config.line("tls-port", [port.to_string()]);
        config.path("tls-ca-cert-file", &self.ca);
        config.path("tls-cert-file", &self.certificate);
        config.path("tls-key-file", &self.key);
        config.line("tls-auth-clients", ["no"]);
        config.line("tls-replication", ["yes"]);
        config.line("tls-cluster", ["yes"]);
    }
}

/// The authority's certificate, the server's, and the server's key. Clients such as rustls do not take one
/// certificate for both roles.
fn issue() -> Result<[String; 3], rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    authority
        .distinguished_name
        .push(DnType::CommonName, "statestore tests: authority");
    let authority_key = KeyPair::generate()?;
    let ca = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let mut server = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    server.use_authority_key_identifier_extension = true;
    server
        .distinguished_name
        .push(DnType::CommonName, "statestore tests: server");
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &issuer)?.pem();
    Ok([ca, certificate, key.serialize_pem()])
}
