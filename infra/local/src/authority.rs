//! Makes the stack's certificate authority at each start. The authority signs PostgreSQL's certificate. The template's
//! parameter `LedgerRoots` passes the authority's certificate to the clients. The authority's private key is dropped
//! after signing.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A server's certificate with its key, and the certificate of the authority that signed it, all in PEM.
pub(crate) struct Signed {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Makes an authority and a certificate that it signs for the server at `name`, a host name or an IP address.
pub(crate) fn certificate(name: &str) -> Result<Signed> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "Stampede's local stack");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new([name.to_owned()])?.signed_by(&key, &authority)?;
    Ok(Signed {
        authority: authority.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}
