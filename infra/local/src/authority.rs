//! The stack's certificate authority, made at each start. It signs PostgreSQL's certificate, and the template's
//! parameters pass it to the clients. Its private key is dropped after signing.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A server's certificate with its key, and the authority that signed it, all in PEM.
pub(crate) struct Signed {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate for the server at `name`, a host name or an address.
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
