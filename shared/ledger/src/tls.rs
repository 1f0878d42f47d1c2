//! Verifies servers by the certificate authorities that a connection trusts.

use std::str::FromStr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The roots of Amazon Trust Services, which sign RDS Proxy's certificates. The AWS clients trust the same roots.
const RDS_PROXY: [&[u8]; 5] = [
    include_bytes!("../../startup/src/roots/amazon-root-ca-1.pem"),
    include_bytes!("../../startup/src/roots/amazon-root-ca-2.pem"),
    include_bytes!("../../startup/src/roots/amazon-root-ca-3.pem"),
    include_bytes!("../../startup/src/roots/amazon-root-ca-4.pem"),
    include_bytes!("../../startup/src/roots/starfield-services-root-g2.pem"),
];

/// The roots of RDS, which sign the certificates of a database without a proxy. `infra/tools/rds-roots` writes the
/// file.
const RDS: &[u8] = include_bytes!("roots/rds.pem");

/// The text is neither `rds-proxy` nor `rds` nor root certificates in PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither `rds-proxy` nor `rds` nor root certificates in PEM")]
pub struct RootsError;

/// The certificate authorities that a connection trusts. The system's trust store is not used. The server must present
/// a certificate that one of these authorities signed for the requested name or address.
///
/// Parsed from a text: `rds-proxy`, `rds` (for a database without the proxy), or one or more certificates in PEM.
#[derive(Clone)]
pub struct Roots {
    config: ClientConfig,
}

impl std::fmt::Debug for Roots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Roots")
    }
}

impl FromStr for Roots {
    type Err = RootsError;

    fn from_str(text: &str) -> Result<Self, RootsError> {
        match text {
            "rds-proxy" => Self::of(&RDS_PROXY),
            "rds" => Self::of(&[RDS]),
            pem => Self::of(&[pem.as_bytes()]),
        }
    }
}

impl Roots {
    fn of(pems: &[&[u8]]) -> Result<Self, RootsError> {
        let mut trusted = RootCertStore::empty();
        for pem in pems {
            for root in CertificateDer::pem_slice_iter(pem) {
                let root = root.map_err(|_| RootsError)?;
                trusted.add(root).map_err(|_| RootsError)?;
            }
        }
        if trusted.is_empty() {
            return Err(RootsError);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| RootsError)?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        Ok(Self { config })
    }

    pub(crate) fn connector(self) -> MakeRustlsConnect {
        MakeRustlsConnect::new(self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(pem: &[u8]) -> usize {
        CertificateDer::pem_slice_iter(pem).map(Result::unwrap).count()
    }

    #[test]
    fn the_roots_of_amazon_are_read() {
        assert!("rds-proxy".parse::<Roots>().is_ok());
        assert!("rds".parse::<Roots>().is_ok());
        // Each of 27 regions has one root for each of three key types.
        assert_eq!(roots(RDS), 27 * 3);
    }

    #[test]
    fn what_holds_no_certificate_is_refused() {
        let cut = std::str::from_utf8(RDS_PROXY[0]).unwrap();
        let cut = cut.get(..cut.len() / 2).unwrap();
        for text in ["", "system", "rds-proxy ", "MIIB", cut] {
            assert!(text.parse::<Roots>().is_err(), "{text}");
        }
    }
}
